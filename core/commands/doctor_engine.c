/* doctor_engine.c: the Docker engine as the daemon would reach it, or the control groups of the host. */
#include "commands/doctor.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

enum {
    CONNECT_MS = 2000,
    CALL_MS = 5000,
    SKEW_WARN_MS = 2000,
    CGROUP2_MAGIC = 0x63677270
};

static const char DEFAULT_HOST[] = "unix:///var/run/docker.sock";

/* Where the engine is: one of the first two. */
struct place {
    const char *host;      /* as configured; lent */
    const char *unix_path; /* lent; NULL: by TCP */
    char *base;            /* "http://docker" */
    struct net_tls tls;
    bool encrypted;
};

/* An answer of the engine, as far as it is kept. */
struct heard {
    int error, status;
    char *why;
    struct cJSON *body;
    uint64_t at_wall_ms;
    struct net_client *client; /* closed when it came */
};

static void on_answer(void *arg, const struct net_answer *answer)
{
    struct heard *h = arg;
    h->error = answer->error;
    h->status = answer->status;
    h->why = mem_copy(answer->error_text);
    h->body = answer->error ? NULL : json_parse(answer->body, answer->body_len);
    h->at_wall_ms = clock_wall_ms();
}

static const char *text_of(const struct cJSON *object, const char *key)
{
    const char *text = json_str(object, key, "");
    return *text ? text : NULL;
}

static void find_place(const struct cJSON *cluster, struct place *ret_place)
{
    const struct cJSON *docker = json_get(cluster, "docker"), *tls = json_get(docker, "tls");
    const char *host = text_of(docker, "host");
    const char *environment = getenv("DOCKER_HOST");
    host = host ? host : environment && *environment ? environment : DEFAULT_HOST;
    *ret_place = (struct place){.host = host};
    ret_place->tls = (struct net_tls){.ca = text_of(tls, "ca"),
                                      .certificate = text_of(tls, "certificate"),
                                      .key = text_of(tls, "key")};
    ret_place->encrypted = ret_place->tls.ca || ret_place->tls.certificate;
    if (str_starts(str_of(host), "unix://")) {
        ret_place->unix_path = host + strlen("unix://");
        ret_place->base = mem_copy("http://docker");
    } else {
        const char *rest = strstr(host, "://");
        ret_place->base =
            mem_printf("%s://%s", ret_place->encrypted ? "https" : "http", rest ? rest + 3 : host);
    }
}

/* Asks and waits. */
static void ask(const struct place *place, const char *path, struct heard *ret_heard)
{
    uv_loop_t loop;
    struct net_client *client = NULL;
    char *url = mem_printf("%s%s", place->base, path);
    struct net_request request = {.url = url,
                                  .unix_path = place->unix_path,
                                  .tls = place->encrypted ? &place->tls : NULL,
                                  .connect_timeout_ms = CONNECT_MS,
                                  .timeout_ms = CALL_MS};
    *ret_heard = (struct heard){.error = -EIO};
    uv_loop_init(&loop);
    int rc = net_client_new(&loop, &client, &ret_heard->why);
    rc = rc ? rc : net_call(client, &request, on_answer, ret_heard, NULL);
    if (rc) {
        ret_heard->error = rc;
    }
    while (!rc && ret_heard->error == -EIO && !ret_heard->why) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    net_client_close(client);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    mem_free(url);
}

static void heard_free(struct heard *h)
{
    mem_release(&h->why);
    json_free(h->body);
    h->body = NULL;
}

static void say_unreachable(struct doctor *d, const struct place *place, const struct heard *h)
{
    struct stat st;
    const char *path = place->unix_path;
    if (path && stat(path, &st)) {
        doctor_say(d, "engine", DOCTOR_FAIL,
                   "start Docker (systemctl start docker), or say where it is: cluster { docker = "
                   "{ host = ... } }",
                   "no socket at %s: %s", path, strerror(errno));
    } else if (path && access(path, R_OK | W_OK)) {
        doctor_say(d, "engine", DOCTOR_FAIL, "join the group that owns it (docker), or run as root",
                   "%s: %s", path, strerror(errno));
    } else {
        doctor_say(d, "engine", DOCTOR_FAIL, "is Docker running, and the address right?",
                   "%s does not answer: %s", place->host,
                   h->why && *h->why ? h->why : err_text(h->error));
    }
}

/* "2026-01-31T12:00:00.123456789Z" as ms since 1970; NaN: not of that shape. */
static double wall_of(const char *text)
{
    struct tm tm = {0};
    double seconds = 0;
    int used = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%lf%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &seconds, &used) != 6) {
        return (double)NAN;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    double offset_ms = 0; /* the engine writes its own zone */
    int hours, minutes;
    char sign;
    if (sscanf(text + used, "%c%2d:%2d", &sign, &hours, &minutes) == 3) {
        offset_ms = (sign == '-' ? -1.0 : 1.0) * (hours * 60 + minutes) * 60000.0;
    }
    return (double)timegm(&tm) * 1000 + seconds * 1000 - offset_ms;
}

static void say_clock(struct doctor *d, const struct heard *info)
{
    double skew_ms = wall_of(json_str(info->body, "SystemTime", "")) - (double)info->at_wall_ms;
    if (!isfinite(skew_ms)) {
        return;
    }
    bool far = fabs(skew_ms) > SKEW_WARN_MS;
    doctor_say(d, "engine clock", far ? DOCTOR_WARN : DOCTOR_OK,
               far ? "let both hosts follow a time server: ages and schedules are wrong otherwise"
                   : "",
               "%.1f s %s this host's", fabs(skew_ms) / 1000, skew_ms < 0 ? "behind" : "ahead of");
}

static void say_engine(struct doctor *d, const struct place *place, const struct heard *version)
{
    struct heard info;
    const char *is = json_str(version->body, "Version", "?");
    const char *api = json_str(version->body, "ApiVersion", "?");
    ask(place, "/info", &info);
    bool known = !info.error && info.body;
    bool limits = !known || json_bool(info.body, "MemoryLimit", true);
    doctor_say(d, "engine", limits ? DOCTOR_OK : DOCTOR_WARN,
               limits ? "" : "enable the memory controller of its control groups",
               "docker %s, API %s, %s%s", is, api, place->host,
               limits ? "" : ": it cannot limit memory");
    if (known) {
        say_clock(d, &info);
    }
    heard_free(&info);
}

void doctor_engine(struct doctor *d)
{
    const struct cJSON *cluster = json_get(d->config, "cluster");
    struct place place;
    struct heard version;
    if (!str_same(json_str(cluster, "engine", "docker"), "docker")) {
        doctor_say(d, "engine", DOCTOR_OK, "", "process: needs none");
        return;
    }
    find_place(cluster, &place);
    ask(&place, "/version", &version);
    if (version.error) {
        say_unreachable(d, &place, &version);
    } else if (version.status != 200 || !version.body) {
        doctor_say(d, "engine", DOCTOR_FAIL, "is that the address of a Docker engine?",
                   "%s answers %d to GET /version", place.host, version.status);
    } else {
        say_engine(d, &place, &version);
    }
    heard_free(&version);
    mem_free(place.base);
}

void doctor_cgroups(struct doctor *d)
{
    static const char BASE[] = "/sys/fs/cgroup";
    static const char ADVICE[] =
        "run as root, or under systemd with Delegate=yes: until then limits "
        "of memory and CPU are not kept";
    const struct cJSON *cluster = json_get(d->config, "cluster");
    struct statfs fs;
    if (!str_same(json_str(cluster, "engine", "docker"), "process")) {
        return;
    }
    bool any = !statfs(BASE, &fs), unified = any && fs.f_type == CGROUP2_MAGIC;
    char *memory = mem_printf("%s%s", BASE, unified ? "" : "/memory");
    if (!any || access(memory, F_OK)) {
        doctor_say(d, "control groups", DOCTOR_WARN, "mount them (cgroup2 at /sys/fs/cgroup)",
                   "none with memory at %s: instances are not limited", BASE);
    } else if (access(memory, W_OK)) {
        doctor_say(d, "control groups", DOCTOR_WARN, ADVICE, "%s: %s", memory, strerror(errno));
    } else {
        doctor_say(d, "control groups", DOCTOR_OK, "", "version %d, writable", unified ? 2 : 1);
    }
    mem_free(memory);
}
