/* repl_simulate.c: see repl_simulate.h. What is wrong becomes a sentence, nothing is printed. */
#include "commands/repl_simulate.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "commands/range.h"
#include "commands/recorded.h"
#include "commands/screen.h"
#include "commands/simulated.h"

enum {
    RUNS_MOST = 20,
    PEAK = 10, /* instances that the peak of a made load needs */
    DEFAULT_MAX = 40,
    DAY_MS = 86400000
};

struct session {
    const struct repl_simulate_of *of;
    const struct cJSON *request;
    const char *service; /* or NULL */
    struct sim_options options;
    struct recorded recorded;
    struct sim_trace trace;
    struct simulated runs[RUNS_MOST];
    size_t count;
    char *title, *why;
};

/* ---- The load ---- */

static bool is_file(const char *load)
{
    return strchr(load, '/') || str_ends(str_of(load), ".csv");
}

static bool is_made(const char *load)
{
    static const char *const KINDS[] = {"step", "ramp", "spike", "daily", "flash"};
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        if (str_same(load, KINDS[i])) {
            return true;
        }
    }
    return false;
}

static int read_recorded(struct session *s, const char *load)
{
    const struct cJSON *cluster = json_get(s->of->configuration, "cluster");
    const char *state_dir = json_str(cluster, "state_dir", "");
    const struct recorded_place place = {.socket = s->of->socket,
                                         .cluster = json_str(cluster, "id", NULL),
                                         .state_dir =
                                             s->of->socket || !*state_dir ? NULL : state_dir};
    uint64_t from_ms, to_ms;
    int code = range_read(load, NULL, clock_wall_ms(), &from_ms, &to_ms, &s->why);
    if (code == 0) {
        code = recorded_read(&place, s->service, from_ms, to_ms, &s->recorded, &s->why);
    }
    if (code == 0) {
        char from[32], to[32];
        range_text(s->recorded.from_ms, from);
        range_text(s->recorded.to_ms, to);
        s->title = mem_printf("Simulated: %s, %s to %s", s->service, from, to);
    }
    return code;
}

/* What an instance of the service can do, as far as a daemon knows it. */
static void learn(struct session *s)
{
    const struct recorded_place place = {.socket = s->of->socket};
    uint64_t now_ms = clock_wall_ms();
    char *why = NULL;
    if (s->service && s->of->socket) {
        (void)recorded_about(&place, s->service, now_ms - DAY_MS, now_ms, &s->recorded, &why);
    }
    mem_free(why);
}

static int make_load(struct session *s, const char *load)
{
    double each = s->options.capacity * sim_highest_load(&s->options);
    double days = json_num(s->request, "days", 0), peak = json_num(s->request, "peak", 0);
    int code = 0;
    if (s->recorded.trace.count) {
        s->trace = s->recorded.trace;
        s->recorded.trace = (struct sim_trace){.rate = NULL};
    } else if (is_file(load)) {
        code = sim_trace_read(load, days > 0 ? days : 366, &s->trace, &s->why);
    } else {
        code = sim_trace_make(load, days > 0 ? days : 1, (peak > 0 ? peak : PEAK) * each, &s->trace,
                              &s->why);
    }
    if (code == 0 && peak > 0 && !is_made(load)) {
        sim_trace_scale(&s->trace, 0.999, peak * each);
    }
    return code;
}

/* ---- Options ---- */

static const struct cJSON *scale_of(const struct session *s)
{
    const struct cJSON *one = json_first(json_get(s->of->configuration, "services"));
    while (one && !str_same(json_str(one, "name", ""), s->service)) {
        one = json_next(one);
    }
    return json_get(one, "scale");
}

static uint32_t whole(const struct session *s, const char *key, double otherwise)
{
    double value = json_num(s->request, key, json_num(scale_of(s), key, otherwise));
    return (uint32_t)fmin(fmax(value, 1), 1000);
}

static int set_options(struct session *s)
{
    const struct cJSON *r = s->request;
    double learned = s->recorded.capacity > 0 ? s->recorded.capacity : 100;
    s->options = (struct sim_options){
        .startup_ms = (uint64_t)json_num(r, "startup_ms", 30000),
        .slo_ms = (uint64_t)json_num(r, "slo_ms", 400),
        .timeout_ms = (uint64_t)json_num(r, "timeout_ms", 5000),
        .service_ms = (uint64_t)json_num(r, "service_ms", 80),
        .capacity = json_num(r, "capacity", learned),
        .noise = json_num(r, "noise", s->recorded.trace.count ? 0 : 1),
        .seed = (uint64_t)json_num(r, "seed", 1),
        .min = whole(s, "min", 1),
        .max = whole(s, "max", DEFAULT_MAX),
        .warm_ticks = (size_t)(json_num(r, "warm_up_ms", 0) / SIM_TICK_MS),
        .stop = s->of->pressed,
    };
    const struct sim_options *o = &s->options;
    if (o->min > o->max) {
        s->why = mem_printf("min %u is more than max %u", o->min, o->max);
    } else if (!(o->capacity > 0.01) || o->service_ms == 0 || sim_highest_load(o) < 0.01) {
        s->why = mem_printf(
            "an answer takes %.0f ms on average, so 95 %% are never within %llu ms: give a "
            "longer slo, a shorter service_time or more capacity",
            fmax((double)o->service_ms, 1000 / fmax(o->capacity, 0.01)),
            (unsigned long long)o->slo_ms);
    }
    return s->why ? -EINVAL : 0;
}

/* ---- Policies ---- */

static void add(struct session *s, char *name, struct cJSON *config)
{
    s->runs[s->count++] = (struct simulated){.name = name, .config = config};
}

/* The policy that the service has now. */
static int add_own(struct session *s)
{
    const char *policy = json_str(scale_of(s), "policy", "");
    struct cJSON *config = NULL;
    if (!s->service || !*policy) {
        return 0;
    }
    int code = sim_service_load(s->of->configuration, s->service, &s->options, &config, &s->why);
    if (code == 0) {
        add(s, mem_printf("%s as it is (%s)", s->service, policy), config);
    }
    return code;
}

/* A file that is not here may stand beside the configuration. The caller owns it. */
static char *find_word(const char *word, const char *directory)
{
    size_t len = strcspn(word, ":");
    char *path = mem_copy_bytes(word, len), *found = NULL;
    if (str_ends(str_of(path), ".lua") && *path != '/' && access(path, R_OK) < 0) {
        found = mem_printf("%s/%s", directory, word);
    }
    mem_free(path);
    return found ? found : mem_copy(word);
}

static int add_policies(struct session *s)
{
    const char *directory = json_str(s->of->configuration, "directory", ".");
    char *beside = mem_printf("%s/simulate.lua", directory);
    int code = add_own(s);
    const struct cJSON *p = json_first(json_get(s->request, "policies"));
    for (; p && code == 0; p = json_next(p)) {
        struct cJSON *config = NULL;
        char *word = find_word(json_value_str(p, ""), directory);
        if (s->count == RUNS_MOST) {
            s->why = mem_printf("more than %d simulations: ask for fewer", RUNS_MOST);
            code = -EINVAL;
        } else {
            code = simulated_policy(beside, word, &s->options, &config, &s->why);
        }
        mem_free(word);
        if (code == 0) {
            add(s, mem_copy(json_value_str(p, "")), config);
        }
    }
    mem_free(beside);
    if (code == 0 && !s->count) {
        s->why = mem_copy("no policy to simulate: name one, or a service that has one");
        code = -EINVAL;
    }
    return code;
}

/* ---- The whole ---- */

static int run(struct session *s)
{
    int code = 0;
    for (size_t i = 0; i < s->count && code == 0; i++) {
        struct simulated *one = &s->runs[i];
        code = sim_run(&s->options, &s->trace, one->config, &one->result, &s->why);
    }
    return code;
}

static char *text_of(const struct session *s, const struct simulated_set *set)
{
    struct buf out;
    buf_init(&out, SCREEN_MOST_BYTES);
    if (s->service) {
        simulated_assumed(&out, set, &s->recorded, json_get(s->request, "capacity") != NULL);
    }
    simulated_table(&out, set, screen_columns(), screen_coloured());
    for (size_t i = 0; i < s->count; i++) {
        if (s->runs[i].result.error) {
            (void)buf_printf(&out,
                             "\n%s failed, and its service was held as it was: ", s->runs[i].name);
            screen_lines(&out, s->runs[i].result.error);
            (void)buf_text(&out, "\n");
        }
    }
    simulated_plot(&out, set, screen_columns());
    char *text =
        mem_copy_bytes(buf_str(&out), out.len ? out.len - 1 : 0); /* the prompt ends the line */
    buf_free(&out);
    return text;
}

static struct cJSON *answer_of(struct session *s)
{
    const struct simulated_set set = {.title = s->title,
                                      .options = &s->options,
                                      .runs = s->runs,
                                      .count = s->count,
                                      .begin_s = simulated_begin(&s->trace)};
    struct cJSON *answer = simulated_json(&set);
    char *text = text_of(s, &set);
    json_set_bool(answer, "ok", true);
    json_set_str(answer, "text", text);
    mem_free(text);
    return answer;
}

static struct cJSON *refusal_of(const struct session *s)
{
    struct cJSON *answer = json_object();
    json_set_bool(answer, "ok", false);
    json_set_str(answer, "error", s->why ? s->why : "it failed");
    return answer;
}

static void clear(struct session *s)
{
    for (size_t i = 0; i < s->count; i++) {
        mem_free(s->runs[i].name);
        json_free(s->runs[i].config);
        sim_result_free(&s->runs[i].result);
    }
    sim_trace_free(&s->trace);
    recorded_free(&s->recorded);
    mem_free(s->title);
    mem_free(s->why);
}

struct cJSON *repl_simulate(const struct repl_simulate_of *of, const struct cJSON *request)
{
    const char *load = json_str(request, "load", "");
    struct session s = {
        .of = of, .request = request, .service = json_str(request, "service", NULL)};
    int code = 0;
    if (is_made(load) || is_file(load)) {
        const char *slash = strrchr(load, '/');
        s.title = mem_printf("Simulated: %s", slash ? slash + 1 : load);
        learn(&s);
    } else {
        code = read_recorded(&s, load);
    }
    code = code ? code : set_options(&s);
    code = code ? code : make_load(&s, load);
    code = code ? code : add_policies(&s);
    code = code ? code : run(&s);
    struct cJSON *answer = code ? refusal_of(&s) : answer_of(&s);
    clear(&s);
    return answer;
}
