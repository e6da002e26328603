/* server.c - the loop: listeners, timers, signals, and the orderly end. See server.h. */
#define _GNU_SOURCE 1
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    BACKLOG = 4096
};

/* timers: a binary heap, earliest first ------------------------------------------------------- */

static void heap_put(struct server *s, struct timer *timer, size_t place)
{
    s->heap[place] = timer;
    timer->place = place;
}

static void heap_settle(struct server *s, struct timer *timer, size_t place)
{
    while (place > 1 && s->heap[place / 2]->at_us > timer->at_us) {
        heap_put(s, s->heap[place / 2], place);
        place /= 2;
    }
    for (size_t child; (child = place * 2) <= s->heap_count; place = child) {
        if (child < s->heap_count && s->heap[child + 1]->at_us < s->heap[child]->at_us) {
            child++;
        }
        if (s->heap[child]->at_us >= timer->at_us) {
            break;
        }
        heap_put(s, s->heap[child], place);
    }
    heap_put(s, timer, place);
}

void server_timer_stop(struct server *s, struct timer *timer)
{
    size_t place = timer->place;

    if (place == 0) {
        return;
    }
    struct timer *last = s->heap[s->heap_count--];
    timer->place = 0;
    if (last != timer) {
        heap_settle(s, last, place);
    }
}

void server_timer_arm(struct server *s, struct timer *timer, uint64_t after_us,
                      void (*fn)(void *arg), void *arg)
{
    server_timer_stop(s, timer);
    timer->at_us = clock_us() + after_us;
    timer->fn = fn;
    timer->arg = arg;
    if (s->heap_count + 1 >= s->heap_room) {
        size_t room = s->heap_room ? s->heap_room * 2 : 256;
        struct timer **heap = realloc(s->heap, room * sizeof *heap);
        if (!heap) {
            fputs("service: out of memory\n", stderr);
            abort();
        }
        s->heap = heap;
        s->heap_room = room;
    }
    heap_settle(s, timer, ++s->heap_count);
}

static void timers_run(struct server *s)
{
    uint64_t now_us = clock_us();

    while (s->heap_count > 0 && s->heap[1]->at_us <= now_us) {
        struct timer *timer = s->heap[1];
        server_timer_stop(s, timer);
        timer->fn(timer->arg);
    }
}

static int timers_wait_ms(const struct server *s)
{
    if (s->heap_count == 0) {
        return -1;
    }
    uint64_t now_us = clock_us();
    uint64_t left_us = s->heap[1]->at_us > now_us ? s->heap[1]->at_us - now_us : 0;
    return left_us > 60000000 ? 60000 : (int)((left_us + 999) / 1000);
}

/* listeners ---------------------------------------------------------------------------------- */

static void on_listener(struct source *source, uint32_t events)
{
    struct listener *l = (struct listener *)source;
    struct server *s = l->server;

    (void)events;
    for (int i = 0; i < EVENTS || s->draining; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            conn_open(s, fd);
        } else if ((errno == EMFILE || errno == ENFILE) && s->spare_fd >= 0) {
            /* Take one and close it: left in the queue it would wake the loop for ever. */
            close(s->spare_fd);
            fd = accept(l->fd, NULL, NULL);
            if (fd >= 0) {
                close(fd);
            }
            s->spare_fd = open("/", O_RDONLY | O_CLOEXEC);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

static int listen_on(struct server *s, const struct sockaddr *address, socklen_t len)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct listener *l = &s->listeners[s->listener_count];
    int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    *l = (struct listener){{on_listener}, s, fd};
    event.data.ptr = &l->source;
    if (bind(fd, address, len) < 0 || listen(fd, BACKLOG) < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    s->listener_count++;
    return 0;
}

static int listen_tcp(struct server *s)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->options.port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)s->options.port)};
    int error;

    if (inet_pton(AF_INET, s->options.host, &v4.sin_addr) == 1) {
        error = listen_on(s, (struct sockaddr *)&v4, sizeof v4);
    } else if (inet_pton(AF_INET6, s->options.host, &v6.sin6_addr) == 1) {
        error = listen_on(s, (struct sockaddr *)&v6, sizeof v6);
    } else {
        error = -EINVAL;
    }
    if (error) {
        fprintf(stderr, "service: cannot listen on %s port %d: %s\n", s->options.host,
                s->options.port, strerror(-error));
        return error;
    }
    struct sockaddr_in6 bound = {0};
    socklen_t len = sizeof bound;
    getsockname(s->listeners[s->listener_count - 1].fd, (struct sockaddr *)&bound, &len);
    printf("listening host=%s port=%d instance=%s\n", s->options.host,
           ntohs(bound.sin6_port), /* at the same place for both families */
           s->options.instance);
    return 0;
}

static int listen_unix(struct server *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(s->options.unix_path);
    int error = -ENAMETOOLONG;

    if (len < sizeof address.sun_path) {
        memcpy(address.sun_path, s->options.unix_path, len);
        unlink(s->options.unix_path); /* what a killed predecessor left */
        error = listen_on(s, (struct sockaddr *)&address, sizeof address);
    }
    if (error) {
        fprintf(stderr, "service: cannot listen on %s: %s\n", s->options.unix_path,
                strerror(-error));
        return error;
    }
    printf("listening unix=%s instance=%s\n", s->options.unix_path, s->options.instance);
    return 0;
}

static void on_start(void *arg)
{
    struct server *s = arg;

    if ((s->options.port >= 0 && listen_tcp(s)) || (s->options.unix_path && listen_unix(s))) {
        s->ended = true;
        s->exit_code = 1;
    }
    fflush(stdout);
}

/* signals and the end ------------------------------------------------------------------------ */

static void on_drain_over(void *arg)
{
    struct server *s = arg;

    fprintf(stderr, "service: %llu connections still open after %d s, going\n",
            (unsigned long long)s->stats.connections, SERVER_DRAIN_MS / 1000);
    s->ended = true;
}

static void drain(struct server *s)
{
    if (s->draining) {
        return;
    }
    s->draining = true;
    server_timer_stop(s, &s->start_timer);
    for (size_t i = 0; i < s->listener_count; i++) {
        on_listener(&s->listeners[i].source, EPOLLIN); /* those that wait already are served */
        close(s->listeners[i].fd);
    }
    s->listener_count = 0;
    if (s->options.unix_path) {
        unlink(s->options.unix_path);
    }
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        conn_drain(c);
    }
    server_timer_arm(s, &s->drain_timer, SERVER_DRAIN_MS * 1000ULL, on_drain_over, s);
}

static void on_signals(struct source *source, uint32_t events)
{
    struct server *s = (struct server *)((char *)source - offsetof(struct server, signals));
    struct signalfd_siginfo info;

    (void)events;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTERM && s->options.ignore_term) {
            fputs("service: SIGTERM ignored\n", stderr);
        } else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
            drain(s);
        }
    }
}

static void on_wakeups(struct source *source, uint32_t events)
{
    struct server *s = (struct server *)((char *)source - offsetof(struct server, wakeups));
    uint64_t count;

    (void)events;
    if (read(s->wakeup_fd, &count, sizeof count) < 0) {
        return;
    }
    for (struct load_job *job = load_finished(s->load), *next; job; job = next) {
        next = job->next;
        conn_job_done(job);
    }
}

static void watched_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGCONT); /* only ends /hang-all; must not stay pending otherwise */
}

void server_signals_block(void)
{
    sigset_t set;

    watched_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* the loop ----------------------------------------------------------------------------------- */

static void gone_free(struct server *s)
{
    while (s->gone) {
        struct conn *c = s->gone;
        s->gone = c->next;
        conn_free(c);
    }
}

static int server_open(struct server *s)
{
    struct epoll_event on_signal = {.events = EPOLLIN, .data.ptr = &s->signals};
    struct epoll_event on_wakeup = {.events = EPOLLIN, .data.ptr = &s->wakeups};
    sigset_t set;

    watched_set(&set);
    s->signals.fn = on_signals;
    s->wakeups.fn = on_wakeups;
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    s->wakeup_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->spare_fd = open("/", O_RDONLY | O_CLOEXEC);
    if (s->epoll_fd < 0 || s->signal_fd < 0 || s->wakeup_fd < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->signal_fd, &on_signal) < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->wakeup_fd, &on_wakeup) < 0) {
        return -errno;
    }
    s->load = load_new(s->options.threads, s->wakeup_fd);
    return s->load ? 0 : -EAGAIN;
}

int server_run(const struct server_options *options)
{
    struct epoll_event events[EVENTS];
    struct server *s = calloc(1, sizeof *s);
    int error = -ENOMEM;

    if (s) {
        s->options = *options;
        s->started_us = clock_us();
        stats_start(&s->stats, s->started_us);
        error = server_open(s);
    }
    if (error) {
        fprintf(stderr, "service: cannot start: %s\n", strerror(-error));
        return 1;
    }
    if (options->start_delay_ms > 0) {
        server_timer_arm(s, &s->start_timer, options->start_delay_ms * 1000, on_start, s);
    } else {
        on_start(s);
    }
    while (!s->ended && !(s->draining && !s->conns)) {
        int count = epoll_wait(s->epoll_fd, events, EVENTS, timers_wait_ms(s));
        for (int i = 0; i < count; i++) {
            struct source *source = events[i].data.ptr;
            source->fn(source, events[i].events);
        }
        timers_run(s);
        gone_free(s);
    }
    while (s->conns) {
        conn_close(s->conns);
    }
    gone_free(s);
    free(s->heap);
    int exit_code = s->exit_code;
    /* The threads of s->load may still run and write to its eventfd; the process ends them. */
    free(s);
    return exit_code;
}
