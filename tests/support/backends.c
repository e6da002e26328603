/* backends.c: scripted backends of a service, all in one process, so that how requests are spread can be
 * measured without burning CPU: an answer takes as long as a timer says.
 *
 *   backends FIRST_PORT COUNT [SETTING=VALUE...]
 *
 * listens on 127.0.0.1, ports FIRST_PORT to FIRST_PORT + COUNT - 1, prints "ready" and serves until it
 * is ended. Each backend serves `slots` requests at a time, the others wait in order. Answers name
 * their backend: X-Instance: b1 to bCOUNT. Settings, for all backends on the command line, later
 *
 *   GET /control?port=P&SETTING=VALUE&...     on any of them; without port for all
 *
 *     service_ms=10      mean time of service
 *     kind=constant      or exponential, or lognormal (sigma 1)
 *     slots=4            0 = no limit
 *     burn_us=0          CPU time that an answer costs
 *     fail=no            500: answered at once; reset: taken, then reset at once; down: refused, and
 *                        what is open is reset
 *
 * It answers with a line "port served failed busy waiting" for each backend, and closes. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_BACKENDS = 128,
    MOST_CONNS = 16384,
    HEAD_BYTES = 4096 /* of a request; one without a body */
};

enum kind {
    CONSTANT,
    EXPONENTIAL,
    LOGNORMAL
};

enum fail {
    FAIL_NO,
    FAIL_500,
    FAIL_RESET,
    FAIL_DOWN
};

static const char *const kinds[] = {"constant", "exponential", "lognormal", NULL};
static const char *const fails[] = {"no", "500", "reset", "down", NULL};

struct backend;

struct conn {
    int fd; /* -1 = closed; while busy it stays in its place */
    bool waiting, serving;
    uint64_t due_us;
    struct backend *of;
    struct conn *next; /* of those that wait, or of the free ones */
    size_t len;
    char head[HEAD_BYTES];
};

struct backend {
    int fd; /* -1 = down */
    int port, number;
    double service_ms;
    uint64_t burn_us;
    enum kind kind;
    enum fail fail;
    unsigned slots, busy, waiting;
    uint64_t served, failed;
    struct conn *first, *last; /* waiting */
};

struct world {
    int poll, timer;
    int count;
    struct backend backends[MOST_BACKENDS];
    struct conn *conns, *free;
    struct conn *heap[MOST_CONNS]; /* being served, earliest first */
    size_t heap_len;
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void burn(uint64_t us)
{
    struct timespec t;
    uint64_t until = 0, now = 0;
    while (now <= until) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        now = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
        until = until ? until : now + us;
    }
}

static double chance(void) /* in 0..1, without both ends */
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((double)(state >> 12) + 0.5) / 4503599627370496.0;
}

static uint64_t service_us(const struct backend *b)
{
    double mean_us = b->service_ms * 1000;
    if (b->kind == EXPONENTIAL) {
        return (uint64_t)(-mean_us * log(chance()));
    }
    if (b->kind == LOGNORMAL) {
        double normal = sqrt(-2 * log(chance())) * cos(2 * 3.14159265358979 * chance());
        return (uint64_t)(mean_us * exp(normal - 0.5));
    }
    return (uint64_t)mean_us;
}

/* ---- Who is served, by the time when it ends --------------------------------------------- */

static void heap_swap(struct world *w, size_t i, size_t k)
{
    struct conn *c = w->heap[i];
    w->heap[i] = w->heap[k];
    w->heap[k] = c;
}

static void heap_push(struct world *w, struct conn *c)
{
    size_t i = w->heap_len++;
    w->heap[i] = c;
    for (; i && w->heap[(i - 1) / 2]->due_us > w->heap[i]->due_us; i = (i - 1) / 2) {
        heap_swap(w, i, (i - 1) / 2);
    }
}

static struct conn *heap_pop(struct world *w)
{
    struct conn *top = w->heap[0];
    w->heap[0] = w->heap[--w->heap_len];
    for (size_t i = 0, least;; i = least) {
        least = i;
        for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < w->heap_len; k++) {
            least = w->heap[k]->due_us < w->heap[least]->due_us ? k : least;
        }
        if (least == i) {
            return top;
        }
        heap_swap(w, i, least);
    }
}

static void set_timer(struct world *w)
{
    struct itimerspec at = {0};
    if (w->heap_len) {
        at.it_value.tv_sec = (time_t)(w->heap[0]->due_us / 1000000);
        at.it_value.tv_nsec = (long)(w->heap[0]->due_us % 1000000 * 1000);
    }
    (void)timerfd_settime(w->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* ---- Connections ------------------------------------------------------------------------- */

static void drop(struct world *w, struct conn *c, bool reset)
{
    if (c->fd >= 0) {
        struct linger linger = {.l_onoff = 1};
        if (reset) {
            (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        }
        close(c->fd);
        c->fd = -1;
    }
    if (!c->waiting && !c->serving) {
        c->of = NULL;
        c->next = w->free;
        w->free = c;
    }
}

/* The caller closes, or waits for the next request. */
static void answer(struct conn *c, int status, const char *body)
{
    char text[MOST_BACKENDS * 80 + 256];
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\nX-Instance: b%d\r\n\r\n%s", status,
                       status == 200 ? "OK" : "Failed", strlen(body), c->of->number, body);
    c->len = 0;
    (void)!send(c->fd, text, (size_t)len, MSG_NOSIGNAL); /* a broken one shows as an event */
}

static void serve(struct world *w, struct conn *c, uint64_t from_us)
{
    c->of->busy++;
    c->serving = true;
    c->due_us = from_us + service_us(c->of);
    heap_push(w, c);
}

/* A place is free: whoever waits longest and is still there. */
static void serve_next(struct world *w, struct backend *b, uint64_t from_us)
{
    while (b->first && (!b->slots || b->busy < b->slots)) {
        struct conn *c = b->first;
        b->first = c->next;
        b->waiting--;
        c->waiting = false;
        if (c->fd >= 0) {
            serve(w, c, from_us);
        } else {
            drop(w, c, false);
        }
    }
}

static void serve_due(struct world *w, uint64_t now)
{
    while (w->heap_len && w->heap[0]->due_us <= now) {
        struct conn *c = heap_pop(w);
        struct backend *b = c->of;
        c->serving = false;
        b->busy--;
        if (c->fd >= 0) {
            b->served++;
            if (b->burn_us) {
                burn(b->burn_us);
            }
            answer(c, 200, "ok\n");
        } else {
            drop(w, c, false);
        }
        serve_next(w, b, c->due_us);
    }
}

static void on_work(struct world *w, struct conn *c)
{
    struct backend *b = c->of;
    if (b->fail == FAIL_500) {
        b->failed++;
        answer(c, 500, "failed\n");
    } else if (b->fail == FAIL_RESET) {
        b->failed++;
        drop(w, c, true);
    } else if (!b->slots || b->busy < b->slots) {
        serve(w, c, now_us());
    } else {
        c->waiting = true;
        c->next = NULL;
        *(b->first ? &b->last->next : &b->first) = c;
        b->last = c;
        b->waiting++;
    }
}

/* ---- Control ----------------------------------------------------------------------------- */

static int index_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], name)) {
            return i;
        }
    }
    return -1;
}

static int listen_on(struct world *w, struct backend *b)
{
    int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)b->port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    b->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)setsockopt(b->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = b};
    if (bind(b->fd, (struct sockaddr *)&at, sizeof at) || listen(b->fd, 4096) ||
        epoll_ctl(w->poll, EPOLL_CTL_ADD, b->fd, &event)) {
        fprintf(stderr, "backends: port %d: %s\n", b->port, strerror(errno));
        return -1;
    }
    return 0;
}

static void go_down(struct world *w, struct backend *b, const struct conn *but)
{
    close(b->fd);
    b->fd = -1;
    for (size_t i = 0; i < MOST_CONNS; i++) {
        if (w->conns[i].of == b && w->conns[i].fd >= 0 && &w->conns[i] != but) {
            drop(w, &w->conns[i], true);
        }
    }
}

/* Changes one setting; false: there is none of that name, or the value is wrong. */
static bool set(struct world *w, struct backend *b, const char *name, const char *value,
                const struct conn *by)
{
    int kind = index_of(kinds, value), fail = index_of(fails, value);
    if (!strcmp(name, "service_ms")) {
        b->service_ms = strtod(value, NULL);
    } else if (!strcmp(name, "burn_us")) {
        b->burn_us = strtoull(value, NULL, 10);
    } else if (!strcmp(name, "slots")) {
        b->slots = (unsigned)strtoul(value, NULL, 10);
    } else if (!strcmp(name, "kind") && kind >= 0) {
        b->kind = (enum kind)kind;
    } else if (!strcmp(name, "fail") && fail >= 0) {
        b->fail = (enum fail)fail;
        if (fail == FAIL_DOWN && b->fd >= 0) {
            go_down(w, b, by);
        } else if (fail != FAIL_DOWN && b->fd < 0) {
            return !listen_on(w, b);
        }
    } else {
        return false;
    }
    serve_next(w, b, now_us());
    return true;
}

static bool set_all(struct world *w, int port, const char *name, const char *value,
                    const struct conn *by)
{
    bool done = false;
    for (int i = 0; i < w->count; i++) {
        if (!port || w->backends[i].port == port) {
            done = set(w, &w->backends[i], name, value, by);
        }
    }
    return done;
}

/* The query is in the connection's own buffer, and is cut up there. */
static void on_control(struct world *w, struct conn *c, char *query)
{
    char text[MOST_BACKENDS * 80];
    size_t len = 0;
    int port = 0;
    char *save = NULL;
    for (char *pair = strtok_r(query, "&", &save); pair; pair = strtok_r(NULL, "&", &save)) {
        char *value = strchr(pair, '=');
        if (value) {
            *value++ = '\0';
        }
        if (value && !strcmp(pair, "port")) {
            port = (int)strtol(value, NULL, 10);
        } else if (!value || !set_all(w, port, pair, value, c)) {
            answer(c, 400, "no such setting, value or port\n");
            return;
        }
    }
    for (int i = 0; i < w->count; i++) {
        const struct backend *b = &w->backends[i];
        len += (size_t)snprintf(text + len, sizeof text - len, "%d %llu %llu %u %u\n", b->port,
                                (unsigned long long)b->served, (unsigned long long)b->failed,
                                b->busy, b->waiting);
    }
    answer(c, 200, text);
}

/* ---- Events ------------------------------------------------------------------------------ */

static void on_bytes(struct world *w, struct conn *c)
{
    static const char control[] = "GET /control?";
    ssize_t n = recv(c->fd, c->head + c->len, HEAD_BYTES - 1 - c->len, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0 || c->serving || c->waiting) { /* gone, or more than one request at a time */
        drop(w, c, false);
        return;
    }
    c->len += (size_t)n;
    c->head[c->len] = '\0';
    if (!strstr(c->head, "\r\n\r\n")) {
        if (c->len == HEAD_BYTES - 1) {
            drop(w, c, true);
        }
        return;
    }
    char *end = strstr(c->head, " HTTP/1.");
    if (strncmp(c->head, control, sizeof control - 1) != 0 || !end) {
        on_work(w, c);
        return;
    }
    *end = '\0';
    on_control(w, c, c->head + sizeof control - 1);
    drop(w, c, false);
}

static void on_accept(struct world *w, struct backend *b)
{
    int fd, on = 1;
    while (b->fd >= 0 && (fd = accept4(b->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = w->free;
        if (!c) {
            close(fd);
            continue;
        }
        w->free = c->next;
        *c = (struct conn){.fd = fd, .of = b};
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        (void)epoll_ctl(w->poll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void run(struct world *w)
{
    struct epoll_event events[256];
    const char *first = (const char *)w->backends, *end = (const char *)(w->backends + w->count);
    for (;;) {
        int count = epoll_wait(w->poll, events, 256, -1);
        serve_due(w, now_us());
        for (int i = 0; i < count; i++) {
            char *p = events[i].data.ptr;
            uint64_t expirations;
            if (p == (char *)w) {
                (void)!read(w->timer, &expirations, sizeof expirations);
            } else if (p >= first && p < end) {
                on_accept(w, (struct backend *)(void *)p);
            } else if (((struct conn *)(void *)p)->fd >= 0) { /* not closed by an event before */
                on_bytes(w, (struct conn *)(void *)p);
            }
        }
        set_timer(w);
    }
}

static int begin(struct world *w, int first_port, int argc, char **argv)
{
    w->poll = epoll_create1(EPOLL_CLOEXEC);
    w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    w->conns = calloc(MOST_CONNS, sizeof *w->conns);
    for (size_t i = MOST_CONNS; i--;) {
        w->conns[i] = (struct conn){.fd = -1, .next = w->free};
        w->free = &w->conns[i];
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};
    (void)epoll_ctl(w->poll, EPOLL_CTL_ADD, w->timer, &event);
    for (int i = 0; i < w->count; i++) {
        struct backend *b = &w->backends[i];
        *b =
            (struct backend){.port = first_port + i, .number = i + 1, .service_ms = 10, .slots = 4};
        if (listen_on(w, b)) {
            return -1;
        }
    }
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value) {
            *value++ = '\0';
        }
        if (!value || !set_all(w, 0, argv[i], value, NULL)) {
            fprintf(stderr, "backends: no such setting or value: %s\n", argv[i]);
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct world w;
    int port = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0;
    w.count = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    struct rlimit files = {0};
    if (port < 1 || w.count < 1 || w.count > MOST_BACKENDS || port + w.count > 65536) {
        fprintf(stderr, "usage: backends FIRST_PORT COUNT [SETTING=VALUE...]\n");
        return 2;
    }
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (begin(&w, port, argc - 3, argv + 3)) {
        return 1;
    }
    puts("ready");
    fflush(stdout);
    run(&w);
}
