/* service.c - a small data service: the upstream of tidegate's demo, tests and benchmarks.
 *
 * Options and the `probe` sub-command; server.h is the map of the rest. */
#define _GNU_SOURCE 1
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    PROBE_TIMEOUT_S = 2,
    EXIT_USAGE = 2
};

static const char USAGE[] =
    "usage: service [OPTIONS]\n"
    "       service probe [--port N | --unix PATH] [PATH]   exit 0 when PATH (/health) answers "
    "200\n"
    "\n"
    "  --port N             listen on TCP port N, 0 = any free one (PORT, else 8080)\n"
    "  --host ADDR          on this numeric address (0.0.0.0)\n"
    "  --unix PATH          listen on a unix socket; on TCP too only when --port is given\n"
    "  --name NAME          instance name (INSTANCE, else host name and pid)\n"
    "  --start-delay MS     listen only after this time (START_DELAY_MS)\n"
    "  --health-delay MS    listen at once, but /health answers 503 until then (HEALTH_DELAY_MS)\n"
    "  --crash-at-start N   exit with code N instead of listening\n"
    "  --ignore-term        do not end on SIGTERM\n"
    "  --threads N          threads for work that burns CPU (4)\n"
    "  --max-body BYTES     largest request body (67108864)\n"
    "SERVICE_NAME is the service's name in /health (data).\n";

struct settings {
    struct server_options server;
    const char *port_text; /* as given by --port, NULL when it was not */
    int crash_code;        /* -1: do not crash */
};

/* Exits with a sentence when text is no whole number up to max. */
static uint64_t number(const char *what, const char *text, uint64_t max)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value > max) {
        fprintf(stderr, "service: %s: '%s' is no number from 0 to %llu\n", what, text,
                (unsigned long long)max);
        exit(EXIT_USAGE);
    }
    return value;
}

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value && *value ? value : otherwise;
}

enum option_id {
    OPTION_PORT = 'p',
    OPTION_HOST = 256,
    OPTION_UNIX,
    OPTION_NAME,
    OPTION_START_DELAY,
    OPTION_HEALTH_DELAY,
    OPTION_CRASH,
    OPTION_IGNORE_TERM,
    OPTION_THREADS,
    OPTION_MAX_BODY,
    OPTION_HELP = 'h',
};

static const struct option OPTIONS[] = {
    {"port", required_argument, NULL, OPTION_PORT},
    {"host", required_argument, NULL, OPTION_HOST},
    {"unix", required_argument, NULL, OPTION_UNIX},
    {"name", required_argument, NULL, OPTION_NAME},
    {"start-delay", required_argument, NULL, OPTION_START_DELAY},
    {"health-delay", required_argument, NULL, OPTION_HEALTH_DELAY},
    {"crash-at-start", required_argument, NULL, OPTION_CRASH},
    {"ignore-term", no_argument, NULL, OPTION_IGNORE_TERM},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"max-body", required_argument, NULL, OPTION_MAX_BODY},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static void option_apply(struct settings *set, int option, const char *value)
{
    struct server_options *o = &set->server;

    switch (option) {
    case OPTION_PORT:
        set->port_text = value;
        break;
    case OPTION_HOST:
        o->host = strcmp(value, "localhost") == 0 ? "127.0.0.1" : value;
        break;
    case OPTION_UNIX:
        o->unix_path = value;
        break;
    case OPTION_NAME:
        o->instance = value;
        break;
    case OPTION_START_DELAY:
        o->start_delay_ms = number("--start-delay", value, 86400000);
        break;
    case OPTION_HEALTH_DELAY:
        o->health_delay_ms = number("--health-delay", value, 86400000);
        break;
    case OPTION_CRASH:
        set->crash_code = (int)number("--crash-at-start", value, 255);
        break;
    case OPTION_IGNORE_TERM:
        o->ignore_term = true;
        break;
    case OPTION_THREADS:
        o->threads = (int)number("--threads", value, 64);
        break;
    case OPTION_MAX_BODY:
        o->body_max_bytes = number("--max-body", value, UINT64_MAX / 2);
        break;
    case OPTION_HELP:
        fputs(USAGE, stdout);
        exit(0);
    default:
        fputs(USAGE, stderr);
        exit(EXIT_USAGE);
    }
}

static void settings_read(struct settings *set, int argc, char **argv)
{
    struct server_options *o = &set->server;
    const char *start = from_environment("START_DELAY_MS", "0");
    const char *health = from_environment("HEALTH_DELAY_MS", "0");
    int option;

    *set = (struct settings){.crash_code = -1};
    o->host = "0.0.0.0";
    o->service = from_environment("SERVICE_NAME", "data");
    o->instance = from_environment("INSTANCE", NULL);
    o->start_delay_ms = number("START_DELAY_MS", start, 86400000);
    o->health_delay_ms = number("HEALTH_DELAY_MS", health, 86400000);
    o->body_max_bytes = 64 << 20;
    o->threads = 4;
    while ((option = getopt_long(argc, argv, "h", OPTIONS, NULL)) != -1) {
        option_apply(set, option, optarg);
    }
    if (set->port_text) {
        o->port = (int)number("--port", set->port_text, 65535);
    } else if (o->unix_path) {
        o->port = -1;
    } else {
        o->port = (int)number("PORT", from_environment("PORT", "8080"), 65535);
    }
    o->threads = o->threads > 0 ? o->threads : 1;
}

static int probe_connect(const struct server_options *o)
{
    struct sockaddr_in tcp = {.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)o->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = PROBE_TIMEOUT_S};
    const struct sockaddr *address = (const struct sockaddr *)&tcp;
    socklen_t len = sizeof tcp;

    if (o->port < 0) {
        size_t path_len = strlen(o->unix_path);
        if (path_len >= sizeof local.sun_path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(local.sun_path, o->unix_path, path_len);
        address = (const struct sockaddr *)&local;
        len = sizeof local;
    }
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, address, len) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* What Docker's HEALTHCHECK runs in an image that holds nothing else. */
static int probe(const struct server_options *o, const char *path)
{
    struct bytes request = {0};
    char answer[16]; /* "HTTP/1.1 200 " is 13 bytes */
    size_t got = 0;
    int fd = probe_connect(o);

    if (fd < 0) {
        fprintf(stderr, "service: probe: cannot connect: %s\n", strerror(errno));
        return 1;
    }
    bytes_addf(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    ssize_t n = send(fd, bytes_at(&request), bytes_len(&request), MSG_NOSIGNAL);
    while (n > 0 && got < 13) {
        n = recv(fd, answer + got, 13 - got, 0);
        got += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    bytes_free(&request);
    if (got < 13) {
        fprintf(stderr, "service: probe: no answer for %s\n", path);
        return 1;
    }
    printf("%s: %.3s\n", path, answer + 9);
    return memcmp(answer + 9, "200", 3) == 0 ? 0 : 1;
}

static void name_make(char *name, size_t room)
{
    char host[64] = "";

    gethostname(host, sizeof host - 1);
    snprintf(name, room, "%s-%ld", *host ? host : "host", (long)getpid());
}

/* The name goes into a header and into JSON as it is. */
static void name_check(const char *what, const char *name)
{
    if (strlen(name) > 128 || strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                           "0123456789-_.:/@") != strlen(name)) {
        fprintf(stderr, "service: %s: use up to 128 letters, digits and -_.:/@\n", what);
        exit(EXIT_USAGE);
    }
}

int main(int argc, char **argv)
{
    struct settings set;
    struct rlimit files;
    char name[96];
    bool probing = argc > 1 && strcmp(argv[1], "probe") == 0;

    if (probing) {
        settings_read(&set, argc - 1, argv + 1);
        return probe(&set.server, optind < argc - 1 ? argv[optind + 1] : "/health");
    }
    settings_read(&set, argc, argv);
    if (optind < argc) {
        fprintf(stderr, "service: unexpected '%s'\n%s", argv[optind], USAGE);
        return EXIT_USAGE;
    }
    if (!set.server.instance) {
        name_make(name, sizeof name);
        set.server.instance = name;
    }
    name_check("instance name", set.server.instance);
    name_check("SERVICE_NAME", set.server.service);
    if (set.crash_code >= 0) {
        usleep((useconds_t)(set.server.start_delay_ms * 1000));
        fprintf(stderr, "service: crashing at the start with code %d, as told\n", set.crash_code);
        return set.crash_code;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    mallopt(M_ARENA_MAX, 1); /* threads hardly allocate; more arenas only reserve addresses */
    server_signals_block();
    return server_run(&set.server);
}
