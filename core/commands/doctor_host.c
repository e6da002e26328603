/* doctor_host.c: limits of a process, memory, clocks, libraries. */
#include "commands/doctor.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <time.h>
#include <uv.h>
#include <zlib.h>

#include "base/ban.h"
#include "base/clock.h"
#include "store/store.h"

enum {
    FILES_LEAST = 512, /* below, a worker has hardly a client */
    FILES_FEW = 8192,
    MEMORY_LEAST_MB = 64,
    MEMORY_FEW_MB = 256
};

static void look_at_limits(struct doctor *d)
{
    static const char ADVICE[] =
        "raise it: ulimit -Hn 65536, or LimitNOFILE=65536 in the systemd unit";
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files)) {
        return;
    }
    /* The soft limit is raised by the daemon itself. */
    uint64_t most = files.rlim_max == RLIM_INFINITY ? UINT64_MAX : (uint64_t)files.rlim_max;
    enum doctor_state state = most < FILES_LEAST ? DOCTOR_FAIL
                              : most < FILES_FEW ? DOCTOR_WARN
                                                 : DOCTOR_OK;
    doctor_say(d, "descriptors", state, state ? ADVICE : "",
               state ? "%" PRIu64 " at most for each process: a worker has no more clients"
                     : "%" PRIu64 " at most for each process",
               most);
}

static void look_at_memory(struct doctor *d)
{
    uint64_t limit_mb = uv_get_constrained_memory() >> 20, total_mb = uv_get_total_memory() >> 20;
    uint64_t mb = uv_get_free_memory() >> 20;
    struct rlimit space;
    if (!getrlimit(RLIMIT_AS, &space) && space.rlim_cur != RLIM_INFINITY) {
        mb = (uint64_t)(space.rlim_cur >> 20) < mb ? (uint64_t)(space.rlim_cur >> 20) : mb;
    }
    if (limit_mb && limit_mb < total_mb && limit_mb < mb) {
        mb = limit_mb;
    }
    enum doctor_state state = mb < MEMORY_LEAST_MB ? DOCTOR_FAIL
                              : mb < MEMORY_FEW_MB ? DOCTOR_WARN
                                                   : DOCTOR_OK;
    doctor_say(d, "memory", state,
               state ? "end what needs it, or raise the limit (ulimit -v, MemoryMax)" : "",
               "%" PRIu64 " MB can be used", mb);
}

/* The day this program was built: no clock is before that. */
static double built_at_s(void)
{
    struct tm tm = {0};
    return strptime(__DATE__, "%b %d %Y", &tm) ? (double)timegm(&tm) : 0;
}

static void look_at_clocks(struct doctor *d)
{
    static const char FOLLOW[] = "let it follow a time server (systemd-timesyncd, chrony)";
    struct timespec step;
    struct timex t = {0};
    uint64_t before_us = clock_now_us();
    double now_s = (double)clock_wall_ms() / 1000;
    char text[32];
    clock_iso(clock_wall_ms(), text, sizeof text);
    bool coarse = clock_getres(CLOCK_MONOTONIC, &step) || step.tv_sec || step.tv_nsec > 1000000;
    if (coarse || clock_now_us() < before_us) {
        doctor_say(d, "clock", DOCTOR_FAIL, "use another kernel or clock source",
                   "the monotonic clock goes back, or in steps of more than 1 ms");
    } else if (now_s < built_at_s() - 86400 || now_s > 7258118400.0 /* 2200 */) {
        doctor_say(d, "clock", DOCTOR_FAIL, FOLLOW, "%s cannot be now", text);
    } else if (adjtimex(&t) == TIME_ERROR && (t.status & STA_UNSYNC)) {
        doctor_say(d, "clock", DOCTOR_WARN, FOLLOW,
                   "%s, and the kernel says that nothing keeps it right", text);
    } else {
        doctor_say(d, "clock", DOCTOR_OK, "", "%s, kept right", text);
    }
}

static void look_at_libraries(struct doctor *d)
{
    doctor_say(d, "libraries", DOCTOR_OK, "", "libuv %s, SQLite %s, zlib %s", uv_version_string(),
               store_library(), zlibVersion());
    void *curl = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    curl = curl ? curl : dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const char *(*says)(void) = NULL;
    if (curl) {
        *(void **)&says = dlsym(curl, "curl_version");
    }
    /* "libcurl/7.88.1 OpenSSL/3.0.17 ...": the first words, its TLS among them. */
    doctor_say(d, "libcurl", says ? DOCTOR_OK : DOCTOR_FAIL,
               says ? "" : "install it (Debian: libcurl4): the daemon does not start without",
               "%.80s", says ? says() : "cannot be loaded");
    bool edit = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) ||
                dlopen("libedit.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    doctor_say(d, "libedit", edit ? DOCTOR_OK : DOCTOR_WARN,
               edit ? "" : "install it (Debian: libedit2), if you want the console's line editor",
               edit ? "there, for the console" : "cannot be loaded");
}

void doctor_host(struct doctor *d)
{
    look_at_limits(d);
    look_at_memory(d);
    look_at_clocks(d);
    look_at_libraries(d);
}
