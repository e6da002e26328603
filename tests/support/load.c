/* load.c: a load generator that hides nothing: it repeats no request, and everything but the
 * expected status within the time-out is an error.
 *
 *   load [OPTION...] URL          http://127.0.0.1:8080/work?cpu_ms=2
 *     --connections N             keep-alive connections (8)
 *     --rate R                    requests a second over all; 0 = each as fast as it is answered
 * (0)
 *     --duration S                0 = until SIGINT or SIGTERM (0)
 *     --timeout MS                for one request (10000)
 *     --expect STATUS             any other is an error (200)
 *     --method M  --body BYTES    (GET, 0)
 *     --live MS                   a line of figures every so often, see below
 *     --control                   reads "rate R", "connections N" and "end" from standard input;
 *                                   the first rate begins, its end ends
 *     --poisson                     with a rate: requests at random, that many a second in the mean
 *     --requests N                  ends after so many
 *
 * At the end it lets open requests finish and prints one line of JSON:
 *   {"requests":900,"errors":1,"stale":0,"by_status":{"200":899,"502":1},"by_instance":{"a":899},
 *    "connects":8,"seconds":3.001,"mean_ms":1.5,"p50_ms":1.234,"p99_ms":3.4,"max_ms":10.0,
 *    "errors_text":["1.204 s: status 502"]}
 * `stale` are those errors where a reused connection was closed without a byte of an answer: a
 * server that ends an idle connection may meet a request on its way. A connection whose end is seen
 * before the next request is opened again without a word.
 * Live lines have "t", the totals "requests" and "errors", and of the last interval "rate",
 * "p50_ms", "p95_ms", "p99_ms" and "max_ms". With a rate, time that a request waits for a free connection
 * counts. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load_histogram.h"

enum {
    MOST_CONNECTIONS = 1024,
    MOST_INSTANCES = 64,
    MOST_ERRORS = 20,
    LINE_BYTES = 512, /* of an answer's head: longer lines are cut, which ours never are */
    PAUSE_US = 20000, /* of a connection after an error */
    LOOK_US = 50000,  /* for time-outs */
};

enum part { /* of an answer */
    PART_STATUS,
    PART_FIELDS,
    PART_BODY,
    PART_UNTIL_CLOSE,
    PART_CHUNK_SIZE,
    PART_CHUNK,
    PART_CHUNK_END,
    PART_TRAILER,
};

struct conn {
    int fd; /* -1 = closed */
    bool connecting, busy, reused;
    uint64_t due_us;  /* from when its latency counts */
    uint64_t sent_us; /* from when its time-out counts */
    uint64_t pause_until_us;
    size_t written;
    uint64_t got; /* bytes of the answer */
    enum part part;
    int status;
    bool close, chunked, has_length;
    uint64_t left; /* of body or chunk */
    char line[LINE_BYTES];
    size_t line_len;
    int instance; /* -1 = not told */
};

struct load {
    struct sockaddr_in to;
    char *request;
    size_t request_len;
    unsigned connections;
    double rate;
    uint64_t duration_us, timeout_us, live_us;
    uint64_t most; /* requests; 0 = no end */
    bool poisson;
    int expect;
    bool head_only, control, waiting, ending;

    int poll;
    struct conn conns[MOST_CONNECTIONS];
    uint64_t begun; /* requests */
    uint64_t start_us, next_due_us, next_live_us, next_look_us, live_start_us;

    uint64_t requests, errors, stale, connects, by_status[600];
    uint64_t live_requests;
    uint64_t latency[HISTOGRAM], live_latency[HISTOGRAM];
    uint64_t max_us, live_max_us, sum_us;
    char instances[MOST_INSTANCES][64];
    uint64_t by_instance[MOST_INSTANCES];
    int instance_count;
    char errors_text[MOST_ERRORS][160];
    int error_texts;
    char command[256]; /* part of a line of standard input */
    size_t command_len;
};

static volatile sig_atomic_t told_to_end;

static void on_signal(int signum)
{
    (void)signum;
    told_to_end = 1;
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- Figures ---------------------------------------------------------------------------- */

static void note_error(struct load *l, const char *what)
{
    l->errors++;
    if (l->error_texts < MOST_ERRORS) {
        snprintf(l->errors_text[l->error_texts++], sizeof l->errors_text[0], "%.3f s: %s",
                 (double)(now_us() - l->start_us) / 1e6, what);
    }
}

static void print_live(struct load *l, uint64_t now)
{
    double seconds = (double)(now - l->live_start_us) / 1e6;
    printf("{\"live\":true,\"t\":%.3f,\"requests\":%llu,\"errors\":%llu,\"rate\":%.1f,"
           "\"p50_ms\":%.3f,\"p95_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
           (double)(now - l->start_us) / 1e6, (unsigned long long)l->requests,
           (unsigned long long)l->errors, seconds > 0 ? (double)l->live_requests / seconds : 0,
           quantile_ms(l->live_latency, 0.5), quantile_ms(l->live_latency, 0.95),
           quantile_ms(l->live_latency, 0.99), (double)l->live_max_us / 1000);
    fflush(stdout);
    l->live_start_us = now;
    l->live_requests = 0;
    l->live_max_us = 0;
    memset(l->live_latency, 0, sizeof l->live_latency);
}

/* Our own words and instance names; anything odd in the latter becomes "?". */
static void print_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        putchar(*text < ' ' || *text == '"' || *text == '\\' || *text > '~' ? '?' : *text);
    }
    putchar('"');
}

static void print_end(const struct load *l)
{
    printf("{\"requests\":%llu,\"errors\":%llu,\"stale\":%llu,\"by_status\":{",
           (unsigned long long)l->requests, (unsigned long long)l->errors,
           (unsigned long long)l->stale);
    const char *comma = "";
    for (int i = 0; i < 600; i++) {
        if (l->by_status[i]) {
            printf("%s\"%d\":%llu", comma, i, (unsigned long long)l->by_status[i]);
            comma = ",";
        }
    }
    printf("},\"by_instance\":{");
    for (int i = 0; i < l->instance_count; i++) {
        printf(i ? "," : "");
        print_text(l->instances[i]);
        printf(":%llu", (unsigned long long)l->by_instance[i]);
    }
    uint64_t answers = 0;
    for (unsigned i = 0; i < HISTOGRAM; i++) {
        answers += l->latency[i];
    }
    printf("},\"connects\":%llu,\"seconds\":%.3f,\"mean_ms\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
           "\"max_ms\":%.3f,"
           "\"errors_text\":[",
           (unsigned long long)l->connects, (double)(now_us() - l->start_us) / 1e6,
           answers ? (double)l->sum_us / 1000 / (double)answers : 0, quantile_ms(l->latency, 0.5),
           quantile_ms(l->latency, 0.99), (double)l->max_us / 1000);
    for (int i = 0; i < l->error_texts; i++) {
        printf(i ? "," : "");
        print_text(l->errors_text[i]);
    }
    puts("]}");
}

/* ---- One connection --------------------------------------------------------------------- */

static void disconnect(struct conn *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->connecting = c->busy = c->reused = false;
}

/* The request under way, if any, has failed. */
static void fail(struct load *l, struct conn *c, const char *what, int error)
{
    char text[128];
    if (c->busy) {
        snprintf(text, sizeof text, "%s%s%s after %llu bytes of the answer%s", what,
                 error ? ": " : "", error ? strerror(error) : "", (unsigned long long)c->got,
                 c->reused ? ", reused connection" : "");
        note_error(l, text);
        l->requests++;
        l->stale += c->reused && !c->got && (error == 0 || error == ECONNRESET || error == EPIPE);
        c->pause_until_us = now_us() + PAUSE_US;
    }
    disconnect(c);
}

static void answered(struct load *l, struct conn *c)
{
    uint64_t took_us = now_us() - c->due_us;
    l->requests++;
    l->live_requests++;
    l->latency[bucket_of(took_us)]++;
    l->sum_us += took_us;
    l->live_latency[bucket_of(took_us)]++;
    l->max_us = took_us > l->max_us ? took_us : l->max_us;
    l->live_max_us = took_us > l->live_max_us ? took_us : l->live_max_us;
    l->by_status[c->status < 600 ? c->status : 599]++;
    if (c->instance >= 0) {
        l->by_instance[c->instance]++;
    }
    if (c->status != l->expect) {
        char text[64];
        snprintf(text, sizeof text, "status %d", c->status);
        note_error(l, text);
    }
    c->busy = false;
    c->reused = true;
    if (c->close) {
        disconnect(c);
    }
}

static int instance_of(struct load *l, const char *name)
{
    for (int i = 0; i < l->instance_count; i++) {
        if (!strcmp(l->instances[i], name)) {
            return i;
        }
    }
    if (l->instance_count == MOST_INSTANCES) {
        return -1;
    }
    snprintf(l->instances[l->instance_count], sizeof l->instances[0], "%.63s", name);
    return l->instance_count++;
}

static const char *field_value(const char *line, const char *name)
{
    size_t len = strlen(name);
    if (strncasecmp(line, name, len) || line[len] != ':') {
        return NULL;
    }
    line += len + 1;
    return line + strspn(line, " \t");
}

static void on_field(struct load *l, struct conn *c)
{
    const char *value;
    if ((value = field_value(c->line, "content-length"))) {
        c->left = strtoull(value, NULL, 10);
        c->has_length = true;
    } else if ((value = field_value(c->line, "transfer-encoding"))) {
        c->chunked = strcasestr(value, "chunked") != NULL;
    } else if ((value = field_value(c->line, "connection"))) {
        c->close = strcasestr(value, "close") != NULL;
    } else if ((value = field_value(c->line, "x-instance"))) {
        c->instance = instance_of(l, value);
    }
}

/* A whole line of the answer. Returns false when it is no HTTP. */
static bool on_line(struct load *l, struct conn *c)
{
    if (c->part == PART_STATUS) {
        if (sscanf(c->line, "HTTP/1.%*[01] %3d", &c->status) != 1) {
            return false;
        }
        c->part = PART_FIELDS;
    } else if (c->part == PART_FIELDS && *c->line) {
        on_field(l, c);
    } else if (c->part == PART_FIELDS && c->status < 200) {
        c->part = PART_STATUS;
    } else if (c->part == PART_FIELDS) {
        bool none = l->head_only || c->status == 204 || c->status == 304;
        c->part = c->chunked ? PART_CHUNK_SIZE : c->has_length ? PART_BODY : PART_UNTIL_CLOSE;
        if (none || (!c->chunked && c->has_length && !c->left)) {
            answered(l, c);
        }
    } else if (c->part == PART_CHUNK_SIZE) {
        char *end;
        c->left = strtoull(c->line, &end, 16);
        if (end == c->line) {
            return false;
        }
        c->part = c->left ? PART_CHUNK : PART_TRAILER;
    } else if (c->part == PART_CHUNK_END) {
        c->part = PART_CHUNK_SIZE;
    } else if (c->part == PART_TRAILER && !*c->line) {
        answered(l, c);
    }
    return true;
}

static void on_bytes(struct load *l, struct conn *c, const char *data, size_t len)
{
    c->got += len;
    while (len && c->busy) {
        if (c->part == PART_UNTIL_CLOSE) {
            return;
        }
        if (c->part == PART_BODY || c->part == PART_CHUNK) {
            size_t take = len < c->left ? len : (size_t)c->left;
            data += take;
            len -= take;
            c->left -= take;
            if (!c->left && c->part == PART_BODY) {
                answered(l, c);
            } else if (!c->left) {
                c->part = PART_CHUNK_END;
                c->line_len = 0;
            }
            continue;
        }
        char byte = *data++;
        len--;
        if (byte == '\n') {
            c->line[c->line_len] = '\0';
            c->line_len = 0;
            if (!on_line(l, c)) {
                fail(l, c, "an answer that is no HTTP", 0);
            }
        } else if (byte != '\r' && c->line_len < LINE_BYTES - 1) {
            c->line[c->line_len++] = byte;
        }
    }
    if (len && c->fd >= 0) {
        note_error(l, "bytes behind the end of an answer");
        disconnect(c);
    }
}

static void write_request(struct load *l, struct conn *c)
{
    while (c->written < l->request_len) {
        ssize_t n = send(c->fd, l->request + c->written, l->request_len - c->written, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0) {
            /* An answer may be there already; reading tells. */
            c->written = l->request_len;
            return;
        }
        c->written += (size_t)n;
    }
}

static void read_answer(struct load *l, struct conn *c)
{
    static char scratch[65536];
    while (c->fd >= 0) {
        ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
        if (n > 0 && c->busy) {
            on_bytes(l, c, scratch, (size_t)n);
        } else if (n > 0) {
            note_error(l, "bytes that nobody asked for");
            disconnect(c);
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else if (n == 0 && c->busy && c->part == PART_UNTIL_CLOSE) {
            c->close = true;
            answered(l, c);
        } else {
            fail(l, c, n == 0 ? "connection closed" : "connection broken", n == 0 ? 0 : errno);
        }
    }
}

/* To the next request. */
static uint64_t gap_us(const struct load *l)
{
    double mean = 1e6 / l->rate;
    return (uint64_t)(l->poisson ? -mean * log(1 - drand48()) : mean);
}

/* Sends a request that was due at `due`; opens the connection when it must. */
static void begin(struct load *l, struct conn *c, uint64_t due, uint64_t now)
{
    l->begun++;
    c->busy = true;
    c->due_us = due;
    c->sent_us = now;
    c->written = 0;
    c->got = c->left = 0;
    c->part = PART_STATUS;
    c->line_len = 0;
    c->status = 0;
    c->close = c->chunked = c->has_length = false;
    c->instance = -1;
    char byte;
    if (c->fd >= 0 && recv(c->fd, &byte, 1, MSG_PEEK) == 0) {
        disconnect(c); /* ended while idle, and we have not looked yet */
        c->busy = true;
    }
    if (c->fd >= 0) {
        write_request(l, c);
        return;
    }
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->connecting = true;
    l->connects++;
    if (connect(c->fd, (struct sockaddr *)&l->to, sizeof l->to) && errno != EINPROGRESS) {
        fail(l, c, "cannot connect", errno);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    (void)epoll_ctl(l->poll, EPOLL_CTL_ADD, c->fd, &event);
}

static void on_event(struct load *l, struct conn *c, uint32_t events)
{
    if (c->fd < 0) {
        return;
    }
    if (c->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        int error = 0;
        socklen_t len = sizeof error;
        (void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error) {
            fail(l, c, "cannot connect", error);
            return;
        }
        c->connecting = false;
    }
    if (!c->connecting && c->busy) {
        write_request(l, c);
    }
    if (!c->connecting) {
        read_answer(l, c);
    }
}

/* ---- The run ---------------------------------------------------------------------------- */

static unsigned busy_count(const struct load *l)
{
    unsigned busy = 0;
    for (unsigned i = 0; i < MOST_CONNECTIONS; i++) {
        busy += l->conns[i].busy;
    }
    return busy;
}

static void look_for_timeouts(struct load *l, uint64_t now)
{
    for (unsigned i = 0; i < MOST_CONNECTIONS; i++) {
        struct conn *c = &l->conns[i];
        if (c->busy && now - c->sent_us > l->timeout_us) {
            fail(l, c, "no answer in time", 0);
        } else if (!c->busy && i >= l->connections) {
            disconnect(c);
        }
    }
}

/* Starts what is due; returns when to look again. */
static uint64_t dispatch(struct load *l, uint64_t now)
{
    uint64_t next = now + LOOK_US;
    for (unsigned i = 0; i < l->connections && (!l->most || l->begun < l->most); i++) {
        struct conn *c = &l->conns[i];
        if (c->busy) {
            continue;
        }
        if (c->pause_until_us > now) {
            next = c->pause_until_us < next ? c->pause_until_us : next;
            continue;
        }
        if (l->rate <= 0) {
            begin(l, c, now, now);
        } else if (l->next_due_us <= now) {
            /* Less than 2 ms is our own timer, not a wait for a connection. */
            begin(l, c, now - l->next_due_us < 2000 ? now : l->next_due_us, now);
            l->next_due_us += gap_us(l);
        } else {
            return l->next_due_us < next ? l->next_due_us : next;
        }
    }
    return next;
}

static void on_command(struct load *l, const char *line)
{
    double number = 0;
    if (sscanf(line, "rate %lf", &number) == 1 && number >= 0) {
        l->rate = number;
        l->next_due_us = now_us();
        l->waiting = false;
    } else if (sscanf(line, "connections %lf", &number) == 1 && number >= 1 &&
               number <= MOST_CONNECTIONS) {
        l->connections = (unsigned)number;
    } else if (!strcmp(line, "end")) {
        told_to_end = 1;
    } else {
        fprintf(stderr, "load: \"%s\": commands are rate R, connections N, end\n", line);
    }
}

static void read_commands(struct load *l)
{
    char byte;
    ssize_t n;
    while ((n = read(STDIN_FILENO, &byte, 1)) == 1) {
        if (byte == '\n') {
            l->command[l->command_len] = '\0';
            l->command_len = 0;
            on_command(l, l->command);
            return; /* level-triggered: the rest comes at once */
        }
        if (l->command_len < sizeof l->command - 1) {
            l->command[l->command_len++] = byte;
        }
    }
    if (n == 0) {
        (void)epoll_ctl(l->poll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        told_to_end = 1; /* who told us is gone */
    }
}

static bool over(struct load *l, uint64_t now)
{
    if (told_to_end || (l->duration_us && now - l->start_us >= l->duration_us) ||
        (l->most && l->begun >= l->most)) {
        l->ending = true;
    }
    return l->ending && !busy_count(l);
}

static void run(struct load *l)
{
    struct epoll_event events[256];
    l->start_us = l->live_start_us = l->next_due_us = now_us();
    l->next_live_us = l->start_us + l->live_us;
    uint64_t now;
    while (!over(l, now = now_us())) {
        uint64_t next = l->ending || l->waiting ? now + LOOK_US : dispatch(l, now);
        if (now >= l->next_look_us) {
            look_for_timeouts(l, now);
            l->next_look_us = now + LOOK_US;
        }
        if (l->live_us && now >= l->next_live_us) {
            print_live(l, now);
            l->next_live_us += l->live_us;
        }
        if (l->live_us && l->next_live_us < next) {
            next = l->next_live_us;
        }
        now = now_us();
        int count =
            epoll_wait(l->poll, events, 256, next > now ? (int)((next - now + 999) / 1000) : 0);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == l) {
                read_commands(l);
            } else {
                on_event(l, events[i].data.ptr, events[i].events);
            }
        }
    }
}

/* ---- Command line ----------------------------------------------------------------------- */

static void usage(const char *what)
{
    fprintf(stderr,
            "load: %s: usage: load [--connections N] [--rate R] [--duration S] [--timeout MS] "
            "[--expect STATUS] [--method M] [--body BYTES] [--live MS] [--control] [--poisson] "
            "[--requests N] "
            "http://ADDRESS:PORT/PATH\n",
            what);
    exit(2);
}

static void make_request(struct load *l, const char *url, const char *method, size_t body)
{
    char host[64], port[8], *path;
    if (sscanf(url, "http://%63[0-9.]:%7[0-9]", host, port) != 2 ||
        inet_pton(AF_INET, host, &l->to.sin_addr) != 1) {
        usage("the URL must be http:// with a numeric address and a port");
    }
    l->to.sin_family = AF_INET;
    l->to.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    path = strchr(url + strlen("http://"), '/');
    size_t limit = strlen(url) + body + 256;
    l->request = malloc(limit);
    int len = snprintf(l->request, limit, "%s %s HTTP/1.1\r\nHost: %s:%s\r\n", method,
                       path ? path : "/", host, port);
    if (body || !strcmp(method, "POST") || !strcmp(method, "PUT")) {
        len += snprintf(l->request + len, limit - (size_t)len, "Content-Length: %zu\r\n", body);
    }
    len += snprintf(l->request + len, limit - (size_t)len, "\r\n");
    memset(l->request + len, 'x', body);
    l->request_len = (size_t)len + body;
    l->head_only = !strcmp(method, "HEAD");
}

static void read_options(struct load *l, int argc, char **argv)
{
    static const struct option options[] = {
        {"connections", 1, NULL, 'c'}, {"rate", 1, NULL, 'r'},     {"duration", 1, NULL, 'd'},
        {"timeout", 1, NULL, 't'},     {"expect", 1, NULL, 'e'},   {"method", 1, NULL, 'm'},
        {"body", 1, NULL, 'b'},        {"live", 1, NULL, 'l'},     {"control", 0, NULL, 'i'},
        {"poisson", 0, NULL, 'p'},     {"requests", 1, NULL, 'n'}, {NULL, 0, NULL, 0},
    };
    const char *method = "GET";
    size_t body = 0;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        double number = optarg ? strtod(optarg, NULL) : 0;
        if (o == 'c' && number >= 1 && number <= MOST_CONNECTIONS) {
            l->connections = (unsigned)number;
        } else if (o == 'r') {
            l->rate = number;
        } else if (o == 'd') {
            l->duration_us = (uint64_t)(number * 1e6);
        } else if (o == 't') {
            l->timeout_us = (uint64_t)(number * 1e3);
        } else if (o == 'e') {
            l->expect = (int)number;
        } else if (o == 'm') {
            method = optarg;
        } else if (o == 'b') {
            body = (size_t)number;
        } else if (o == 'l') {
            l->live_us = (uint64_t)(number * 1e3);
        } else if (o == 'p') {
            l->poisson = true;
        } else if (o == 'n') {
            l->most = (uint64_t)number;
        } else if (o == 'i') {
            l->control = l->waiting = true;
        } else {
            usage("wrong option");
        }
    }
    if (optind != argc - 1) {
        usage("one URL is needed");
    }
    make_request(l, argv[optind], method, body);
}

int main(int argc, char **argv)
{
    static struct load l = {.connections = 8, .timeout_us = 10000000, .expect = 200};
    for (unsigned i = 0; i < MOST_CONNECTIONS; i++) {
        l.conns[i].fd = -1;
    }
    read_options(&l, argc, argv);
    struct sigaction end = {.sa_handler = on_signal};
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    l.poll = epoll_create1(EPOLL_CLOEXEC);
    if (l.control) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &l};
        (void)epoll_ctl(l.poll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    }
    run(&l);
    print_end(&l);
    free(l.request);
    return l.errors ? 1 : 0;
}
