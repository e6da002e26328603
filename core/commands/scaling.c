/* scaling.c: what people read of how a service is scaled: what a decision met on its way, and what
 * keeps policies from deciding. */
#include <stdlib.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "commands/commands.h"
#include "commands/screen.h"

enum {
    INDENT = 2
};

char *commands_rules_text(const struct cJSON *decision)
{
    const struct cJSON *rules = json_get(decision, "constraints");
    const char *held = json_str(decision, "held_by", "");
    struct buf text;
    buf_init(&text, LIMIT_REASON_BYTES);
    if (*held || json_first(rules)) {
        (void)buf_text(&text, *held ? "held by " : "raised by ");
    }
    if (*held && !json_first(rules)) {
        (void)buf_text(&text, held);
    }
    const char *comma = "";
    for (const struct cJSON *one = json_first(rules); one; one = json_next(one)) {
        int64_t before = json_int(one, "before", 0), after = json_int(one, "after", 0);
        (void)buf_printf(&text, "%s%s", comma, json_str(one, "rule", "?"));
        if (before != after) {
            (void)buf_printf(&text, " %lld -> %lld", (long long)before, (long long)after);
        }
        comma = ", ";
    }
    char *all = mem_copy(text.len ? buf_str(&text) : "");
    buf_free(&text);
    return all;
}

/* Takes `line`. */
static void say(struct buf *to, unsigned width, char *line)
{
    screen_line(to, width, INDENT, line);
    mem_free(line);
}

static const char *meaning(const char *mode)
{
    return str_same(mode, "recommend") ? "its policy recommends no change"
           : str_same(mode, "shadow")  ? "its policy only reports"
           : str_same(mode, "paused")  ? "its policy changes nothing"
                                       : "its policy and `tidegate scale` change nothing";
}

/* "shadow queue would have 6, not 4: ..., another number in 3 of 120 answers" */
static void say_shadow(struct buf *to, unsigned width, const struct cJSON *x)
{
    const char *name = json_str(x, "name", "?"), *error = json_str(x, "error", NULL);
    long long asked = json_int(x, "asked", 0), differed = json_int(x, "differed", 0);
    long long would = json_int(x, "would", 0), own = json_int(x, "own", 0);
    if (!asked) {
        say(to, width, mem_printf("shadow %s: not asked yet", name));
    } else if (error) {
        say(to, width, mem_printf("shadow %s failed: %s", name, error));
    } else if (would == own) {
        say(to, width,
            mem_printf("shadow %s agrees: %lld (differed in %lld of %lld): %s", name, would,
                       differed, asked, json_str(x, "reason", "")));
    } else {
        say(to, width,
            mem_printf("shadow %s would have %lld, not %lld (differed in %lld of %lld): %s", name,
                       would, own, differed, asked, json_str(x, "reason", "")));
    }
}

/* "route 2 /: shadow ewma would have picked another backend in 120 of 900 picks" */
static void say_route_shadow(struct buf *to, unsigned width, const struct cJSON *x)
{
    long long errors = json_int(x, "errors", 0);
    char *failed = errors ? mem_printf(", %lld errors", errors) : mem_copy("");
    say(to, width,
        mem_printf("route %lld %s: shadow %s would have picked another backend in %lld of %lld "
                   "picks%s",
                   (long long)json_int(x, "route", 0), json_str(x, "path", "/"),
                   json_str(x, "name", "?"), (long long)json_int(x, "differed", 0),
                   (long long)json_int(x, "asked", 0), failed));
    mem_free(failed);
}

/* "to zero after 15m without a request: 4 cold starts; a day, by idle time: 36 at 1m, 12 at 5m" */
static void say_zero(struct buf *to, unsigned width, const struct cJSON *zero)
{
    char idle[24];
    struct buf curve;
    buf_init(&curve, 256);
    screen_age(json_num(zero, "idle_s", 0), idle);
    const struct cJSON *gap = json_first(json_get(zero, "cold_starts_a_day"));
    for (; gap; gap = json_next(gap)) {
        (void)buf_printf(&curve, "%s%.3g at %ldm", curve.len ? ", " : "", json_value_num(gap, 0),
                         strtol(json_name(gap), NULL, 10) / 60);
    }
    say(to, width,
        mem_printf("to zero after %s without a request: %lld cold starts; a day, by idle time: %s",
                   idle, (long long)json_int(zero, "wakes", 0), buf_str(&curve)));
    buf_free(&curve);
}

void commands_show_scaling(struct buf *to, const struct cJSON *service, unsigned width)
{
    char left[24];
    if (json_get(service, "manual_for_s")) {
        screen_age(json_num(service, "manual_for_s", 0), left);
        say(to, width, mem_printf("scaled by hand: the policy decides again in %s", left));
    }
    if (json_get(service, "zero")) {
        say_zero(to, width, json_get(service, "zero"));
    }
    const char *mode = json_str(service, "mode", "active");
    if (json_get(service, "recommended")) {
        say(to, width,
            mem_printf("recommends %lld instances: `tidegate approve %s` starts or stops them",
                       (long long)json_int(service, "recommended", 0),
                       json_str(service, "name", "?")));
    } else if (!str_same(mode, "active")) {
        say(to, width, mem_printf("scaling is set to %s: %s", mode, meaning(mode)));
    }
    const struct cJSON *shadow = json_first(json_get(service, "shadows"));
    for (; shadow; shadow = json_next(shadow)) {
        say_shadow(to, width, shadow);
    }
    shadow = json_first(json_get(service, "route_shadows"));
    for (; shadow; shadow = json_next(shadow)) {
        say_route_shadow(to, width, shadow);
    }
    if (json_get(service, "frozen_for_s")) {
        screen_age(json_num(service, "frozen_for_s", 0), left);
        say(to, width,
            mem_printf("its policy went to and fro too often: no scaling down for %s", left));
    }
}
