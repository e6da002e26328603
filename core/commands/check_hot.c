/* check_hot.c: `tidegate check --hot`: what a pick of each balance policy costs, and what LuaJIT does not compile. */
#include "commands/check_hot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands/commands.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "script/kit.h"

enum {
    REPORT_MOST_BYTES = 1 << 22
};

/* In the child: the report as JSON into the pipe. */
static int tell(const struct cJSON *config, int fd)
{
    struct cJSON *report = NULL;
    char *why = NULL;
    if (script_kit_hot(config, &report, &why) < 0) {
        report = json_object();
        json_set_str(report, "error", why);
    }
    char *text = json_text(report);
    size_t len = strlen(text), at = 0;
    while (at < len) {
        ssize_t n = write(fd, text + at, len - at);
        if (n < 0 && errno != EINTR) {
            return 1;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* All that the child tells; NULL when it is no report. */
static struct cJSON *listen_to(int fd)
{
    struct buf text;
    char part[4096];
    ssize_t n;
    buf_init(&text, REPORT_MOST_BYTES);
    while ((n = read(fd, part, sizeof part)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0 && buf_append(&text, part, (size_t)n) < 0) {
            break;
        }
    }
    struct cJSON *report = json_parse(buf_str(&text), text.len);
    buf_free(&text);
    return report;
}

static bool well(const struct cJSON *one)
{
    return !json_str(one, "error", NULL) && json_bool(one, "compiled", false);
}

static void show(const struct cJSON *one)
{
    const char *error = json_str(one, "error", NULL);
    printf("%s %s (%s), %s: ", well(one) ? "ok  " : "FAIL", json_str(one, "policy", ""),
           json_str(one, "origin", ""), json_str(one, "at", ""));
    if (error) {
        printf("%s\n", error);
    } else {
        printf("%.0f ns and %.0f bytes of garbage a pick%s\n", json_num(one, "ns", 0),
               json_num(one, "bytes", 0), well(one) ? "" : ", not compiled");
    }
    for (const struct cJSON *s = json_first(json_get(one, "stops")); s; s = json_next(s)) {
        if (!well(one) || json_bool(s, "lasting", false)) {
            printf("     %s: %s\n", json_str(s, "at", ""), json_str(s, "why", ""));
        }
    }
}

int check_hot(const struct cJSON *config, struct cJSON **ret_report)
{
    int ends[2], status = 0;
    if (pipe(ends) < 0) {
        return command_fail(COMMAND_NO, "cannot make a pipe: %s", err_text(-errno));
    }
    fflush(stdout);
    pid_t child = fork(); /* watching LuaJIT's compiler crashes some versions of it */
    if (child == 0) {
        close(ends[0]);
        _exit(tell(config, ends[1]));
    }
    close(ends[1]);
    struct cJSON *report = child > 0 ? listen_to(ends[0]) : NULL;
    close(ends[0]);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!report || json_str(report, "error", NULL)) {
        int code = command_fail(COMMAND_NO, "--hot: %s",
                                report ? json_str(report, "error", "")
                                       : "this LuaJIT cannot be watched: see `tidegate version`");
        json_free(report);
        return code;
    }
    *ret_report = report;
    return COMMAND_FINE;
}

int check_hot_show(const struct cJSON *report, bool quiet)
{
    int bad = 0;
    for (const struct cJSON *one = json_first(report); one; one = json_next(one)) {
        bad += !well(one);
        if (!quiet) {
            show(one);
        }
    }
    if (bad) {
        return command_fail(COMMAND_NO,
                            "%d balance %s or %s not run as machine code, which takes some ten "
                            "times as long",
                            bad, bad == 1 ? "policy fails" : "policies fail",
                            bad == 1 ? "does" : "do");
    }
    return COMMAND_FINE;
}
