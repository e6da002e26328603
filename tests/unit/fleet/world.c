/* world.c: see world.h and fake_world.h. */
#include "world.h"

#include <errno.h>
#include <string.h>

#include "fake_world.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"
#include "fleet/fleet.h"
#include "probe/probe.h"

enum {
    STEP_MS = 10,
    TICK_MS = 100,
    ACK_MS = 30
};

struct check {
    char *id, *address, *reason;
    bool http;
    uint32_t interval_ms, retries, attempts, failures;
    uint64_t next_ms;
    int healthy; /* -1 waiting, 0 no, 1 yes */
    int status;
};

struct world {
    uint64_t now_ms;
    struct fake_engine engine;
    struct fleet *fleet;
    struct board *board;
    struct cJSON *config;
    struct map checks, hosts; /* hosts: static addresses that answer */
    bool acks, told_up;
    uint64_t roster_version, ack_ms, acked;
    char *roster, *asked, *answer, *policy;
    struct buf facts;
    struct map kept;        /* kind \n key -> text: what a store would have on disk */
    uint64_t wall_ahead_ms; /* of the wall clock: 1970 + now + that */
    uint32_t crash_delay_ms;
    uint64_t crash_ms;
};

uint64_t world_now(const struct world *w)
{
    return w->now_ms;
}

/* ---- Ports ---- */

static void check_free(struct check *c)
{
    mem_free(c->id);
    mem_free(c->address);
    mem_free(c->reason);
    mem_free(c);
}

static void probe_remove_port(void *arg, const char *id)
{
    struct world *w = arg;
    struct check *c = map_remove(&w->checks, id);
    if (c) {
        check_free(c);
    }
}

static int probe_add_port(void *arg, const char *id, const struct probe_spec *spec)
{
    struct world *w = arg;
    probe_remove_port(w, id);
    struct check *c = mem_new(sizeof *c);
    *c = (struct check){
        .id = mem_copy(id),
        .address = mem_copy(spec->address),
        .reason = mem_copy(""),
        .http = spec->kind == PROBE_HTTP,
        .interval_ms = spec->interval_ms,
        .retries = spec->retries,
        .next_ms = w->now_ms,
        .healthy = -1,
    };
    map_put(&w->checks, id, c);
    return 0;
}

static void probe_reason_port(void *arg, const char *id, const char **ret_reason, int *ret_status,
                              uint32_t *ret_attempts)
{
    const struct world *w = arg;
    const struct check *c = map_get(&w->checks, id);
    *ret_reason = c ? c->reason : "";
    *ret_status = c ? c->status : 0;
    *ret_attempts = c ? c->attempts : 0;
}

static void roster_port(void *arg, const struct fleet_roster *roster)
{
    struct world *w = arg;
    must(roster->version == w->roster_version + 1);
    w->roster_version = roster->version;
    mem_free(w->roster);
    w->roster = fleet_roster_text(roster);
    w->ack_ms = w->now_ms + ACK_MS;
}

static void ask_port(void *arg, const struct fleet_snapshot *snapshot)
{
    struct world *w = arg;
    mem_free(w->asked);
    w->asked = fleet_snapshot_text(w->fleet, snapshot);
}

static void fact_port(void *arg, const struct fleet_fact *fact)
{
    struct world *w = arg;
    (void)buf_printf(&w->facts, "%llu %s %s %s: %s: %s\n", (unsigned long long)w->now_ms,
                     fact->kind, fact->service, fact->instance, fact->what, fact->detail);
}

static void keep_port(void *arg, const char *kind, const char *key, const char *json)
{
    struct world *w = arg;
    char *at = mem_printf("%s\n%s", kind, key);
    mem_free(json ? map_put(&w->kept, at, mem_copy(json)) : map_remove(&w->kept, at));
    mem_free(at);
}

static uint64_t wall_port(void *arg)
{
    const struct world *w = arg;
    return w->now_ms + w->wall_ahead_ms;
}

/* ---- Health checks ---- */

static void set_reason(struct check *c, int status, const char *reason)
{
    c->status = status;
    mem_free(c->reason);
    c->reason = mem_copy(reason);
}

static bool attempt(struct world *w, struct check *c)
{
    if (map_get(&w->hosts, c->address)) {
        set_reason(c, c->http ? 200 : 0, "passed");
        return true;
    }
    const struct container *at = fake_engine_at(&w->engine, c->address);
    const struct image *image = at ? fake_engine_image(&w->engine, at->image) : NULL;
    if (!at || (int64_t)(w->now_ms - at->started_ms) < image->ready_ms) {
        set_reason(c, 0, "connection refused");
        return false;
    }
    int status = at->sick ? 503 : image->status;
    if (c->http && status >= 400) {
        char *text = mem_printf("GET /health answered %d", status);
        set_reason(c, status, text);
        mem_free(text);
        return false;
    }
    set_reason(c, c->http ? status : 0, c->http ? "HTTP health check passed" : "connected");
    return !at->sick;
}

/* Returns whether the result changed. */
static bool check_run(struct world *w, struct check *c)
{
    if (w->now_ms < c->next_ms) {
        return false;
    }
    bool good = attempt(w, c);
    uint32_t fast_ms = c->healthy == 1 ? 1000 : 250;
    c->next_ms = w->now_ms +
                 (c->interval_ms < fast_ms || (c->healthy == 1 && good) ? c->interval_ms : fast_ms);
    c->attempts++;
    c->failures = good ? 0 : c->failures + 1;
    int healthy = good ? 1 : c->healthy == 1 && c->failures >= c->retries ? 0 : c->healthy;
    bool changed = healthy != c->healthy;
    c->healthy = healthy;
    return changed;
}

static void run_checks(struct world *w)
{
    struct buf changed; /* ids: results may change the map */
    buf_init(&changed, 1 << 20);
    size_t at = 0;
    const char *id;
    void *value;
    while (map_next(&w->checks, &at, &id, &value)) {
        if (check_run(w, value)) {
            (void)buf_append(&changed, id, strlen(id) + 1);
        }
    }
    for (size_t from = 0; from < changed.len; from += strlen(changed.data + from) + 1) {
        const struct check *c = map_get(&w->checks, changed.data + from);
        if (c) {
            const struct probe_result result = {.id = changed.data + from,
                                                .healthy = c->healthy == 1,
                                                .attempts = c->attempts,
                                                .status = c->status,
                                                .reason = c->reason,
                                                .body = ""};
            fleet_on_probe(w->fleet, &result, w->now_ms);
        }
    }
    buf_free(&changed);
}

/* ---- Life ---- */

void world_event(struct world *w, enum engine_event_kind kind, const struct container *c)
{
    const struct engine_event event = {
        .kind = kind,
        .id = c->id,
        .name = c->name,
        .service = c->service,
        .exit_code = c->exit_code,
        .health = c->health,
    };
    if (w->fleet && w->engine.up) {
        fleet_on_engine_event(w->fleet, &event, w->now_ms);
    }
}

/* Of a copy: what makes no sense is forgotten meanwhile. */
static void restore(struct world *w)
{
    struct map before = {0};
    size_t at = 0;
    const char *where;
    void *text;
    while (map_next(&w->kept, &at, &where, &text)) {
        map_put(&before, where, mem_copy(text));
    }
    for (at = 0; map_next(&before, &at, &where, &text);) {
        const char *key = strchr(where, '\n');
        char *kind = mem_copy_bytes(where, (size_t)(key - where));
        fleet_restore(w->fleet, kind, key + 1, text);
        mem_free(kind);
        mem_free(text);
    }
    map_free(&before);
}

void world_boot(struct world *w)
{
    const struct fleet_ports ports = {
        .arg = w,
        .probe_add = probe_add_port,
        .probe_remove = probe_remove_port,
        .probe_reason = probe_reason_port,
        .roster = roster_port,
        .ask = ask_port,
        .fact = fact_port,
        .keep = keep_port,
        .wall_ms = wall_port,
    };
    must(board_new(2, &w->board) == 0);
    w->fleet = fleet_new(&ports, w->board);
    w->roster_version = w->acked = 0;
    w->told_up = false;
    fleet_set_engine(w->fleet, &w->engine.head);
    restore(w);
    if (w->config) {
        fleet_apply(w->fleet, w->config, w->now_ms);
    }
}

void world_crash(struct world *w)
{
    if (!w->fleet) {
        return;
    }
    fake_engine_cancel(&w->engine, -ECANCELED);
    fleet_free(w->fleet);
    w->fleet = NULL;
    board_free(w->board);
    w->board = NULL;
    size_t at = 0;
    const char *id;
    void *value;
    while (map_next(&w->checks, &at, &id, &value)) {
        check_free(value);
    }
    map_free(&w->checks);
    mem_release(&w->asked);
    w->crash_ms = 0;
    w->engine.crash_due = false;
}

static void answer_policy(struct world *w)
{
    if (w->asked && w->policy) {
        struct cJSON *decisions = json_parse(w->policy, strlen(w->policy));
        mem_release(&w->asked);
        fleet_on_decisions(w->fleet, decisions, 1, w->now_ms);
        json_free(decisions);
    }
}

static void step(struct world *w)
{
    w->now_ms += STEP_MS;
    if (w->engine.up != w->told_up && w->fleet) {
        w->told_up = w->engine.up;
        if (w->engine.up) {
            fleet_on_engine_up(w->fleet, "fake 1.0", w->now_ms);
        } else {
            fleet_on_engine_down(w->fleet, "connection refused", w->now_ms);
        }
    }
    fake_engine_run(&w->engine, w->now_ms);
    if (w->fleet) {
        run_checks(w);
        if (w->acks && w->acked < w->roster_version && w->now_ms >= w->ack_ms) {
            w->acked = w->roster_version;
            fleet_on_roster(w->fleet, w->acked, w->now_ms);
        }
        if (w->now_ms % TICK_MS == 0) {
            fleet_tick(w->fleet, w->now_ms);
        }
        answer_policy(w);
    }
    if (w->engine.crash_due && !w->crash_ms) {
        w->crash_ms = w->now_ms + w->crash_delay_ms;
    }
    if (w->crash_ms && w->now_ms >= w->crash_ms) {
        world_crash(w);
        world_boot(w);
    }
}

void world_run(struct world *w, uint32_t ms)
{
    for (uint64_t until = w->now_ms + ms; w->now_ms < until;) {
        step(w);
    }
}

struct world *world_new(void)
{
    struct world *w = mem_new(sizeof *w);
    w->now_ms = 1000000;
    w->acks = true;
    w->wall_ahead_ms = 1700000000000;
    fake_engine_init(&w->engine, w);
    w->engine.up = true;
    buf_init(&w->facts, 4 << 20);
    world_boot(w);
    return w;
}

void world_free(struct world *w)
{
    world_crash(w);
    fake_engine_free(&w->engine);
    json_free(w->config);
    map_free(&w->hosts);
    size_t at = 0;
    const char *where;
    void *text;
    while (map_next(&w->kept, &at, &where, &text)) {
        mem_free(text);
    }
    map_free(&w->kept);
    mem_free(w->roster);
    mem_free(w->answer);
    mem_free(w->policy);
    buf_free(&w->facts);
    mem_free(w);
}

/* ---- What specs change ---- */

void world_apply(struct world *w, const char *config)
{
    json_free(w->config);
    w->config = json_parse(config, strlen(config));
    must(w->config);
    if (w->fleet) {
        fleet_apply(w->fleet, w->config, w->now_ms);
    }
}

void world_set(struct world *w, const char *text)
{
    struct cJSON *set = json_parse(text, strlen(text));
    must(set);
    w->engine.up = json_bool(set, "engine_up", w->engine.up);
    w->acks = json_bool(set, "acks", w->acks);
    w->wall_ahead_ms += (uint64_t)json_int(set, "wall_ms", 0);
    w->engine.crash_in = json_int(set, "crash_in", w->engine.crash_in);
    w->crash_delay_ms = (uint32_t)json_int(set, "crash_delay_ms", w->crash_delay_ms);
    const struct cJSON *fault = json_get(set, "fault");
    if (fault) {
        struct fault *f = &w->engine.faults[json_int(fault, "op", 0)];
        mem_free(f->text);
        *f = (struct fault){
            .times = (int)json_int(fault, "times", 1),
            .code = (int)json_int(fault, "code", 0),
            .happens = json_bool(fault, "happens", false),
            .text = mem_copy(json_str(fault, "text", "")),
        };
    }
    const struct cJSON *delay = json_get(set, "delay");
    if (delay) {
        w->engine.delay_ms[json_int(delay, "op", 0)] = (uint32_t)json_int(delay, "ms", 0);
    }
    json_free(set);
}

void world_image(struct world *w, const char *name, const char *text)
{
    struct cJSON *set = json_parse(text, strlen(text));
    struct image *i = fake_engine_image(&w->engine, name);
    i->missing = json_bool(set, "missing", i->missing);
    i->has_check = json_bool(set, "has_check", i->has_check);
    i->restarts = json_bool(set, "restarts", i->restarts);
    i->status = (int)json_int(set, "status", i->status);
    i->ready_ms = json_int(set, "ready_ms", i->ready_ms);
    i->dies_ms = json_int(set, "dies_ms", i->dies_ms);
    i->exit_code = (int)json_int(set, "exit_code", i->exit_code);
    i->oom = json_bool(set, "oom", i->oom);
    i->cores = json_num(set, "cores", i->cores);
    i->memory = json_num(set, "memory", i->memory);
    i->start_cores = json_num(set, "start_cores", i->start_cores);
    i->start_ms = json_int(set, "start_ms", i->start_ms);
    json_free(set);
}

void world_foreign(struct world *w, const char *name)
{
    struct container *c = fake_container_new(&w->engine, name, "");
    c->state = ENGINE_RUNNING;
    list_append(&w->engine.containers, &c->node);
}

bool world_die(struct world *w, const char *name, int exit_code, bool oom)
{
    struct container *c = fake_engine_find(&w->engine, name);
    if (c) {
        fake_container_die(c, exit_code, oom);
    }
    return c != NULL;
}

bool world_sick(struct world *w, const char *name, bool sick)
{
    struct container *c = fake_engine_find(&w->engine, name);
    if (c) {
        c->sick = sick;
    }
    return c != NULL;
}

bool world_mute(struct world *w, const char *name, bool mute)
{
    struct container *c = fake_engine_find(&w->engine, name);
    if (c) {
        c->mute = mute;
    }
    return c != NULL;
}

bool world_pause(struct world *w, const char *name, bool paused)
{
    struct container *c = fake_engine_find(&w->engine, name);
    if (c) {
        c->state = paused ? ENGINE_PAUSED : ENGINE_RUNNING;
        world_event(w, paused ? ENGINE_EVENT_PAUSED : ENGINE_EVENT_UNPAUSED, c);
    }
    return c != NULL;
}

void world_vanish(struct world *w, const char *name)
{
    struct container *c = fake_engine_find(&w->engine, name);
    if (c) {
        fake_container_free(c);
    }
}

void world_host(struct world *w, const char *address, bool answers)
{
    if (answers) {
        map_put(&w->hosts, address, w);
    } else {
        map_remove(&w->hosts, address);
    }
}

void world_policy(struct world *w, const char *decisions)
{
    mem_free(w->policy);
    w->policy = *decisions ? mem_copy(decisions) : NULL;
}

void world_in_flight(struct world *w, unsigned slot, uint64_t count)
{
    board_set(&board_row(w->board, 0, slot)->in_flight, count);
}

void world_queue(struct world *w, unsigned worker, unsigned route, uint64_t count)
{
    board_set(&board_route(w->board, worker, route)->queued, count);
}

void world_requests(struct world *w, unsigned slot, unsigned count, unsigned failures,
                    uint64_t latency_us)
{
    struct board_row *row = board_row(w->board, 1, slot);
    board_add(&row->outcomes[BOARD_2XX], count - failures);
    board_add(&row->outcomes[BOARD_5XX], failures);
    for (unsigned at = 0; at < count; at++) {
        board_observe(w->board, 1, slot, latency_us);
    }
}

/* ---- What specs see ---- */

static const char *lend(struct world *w, char *text)
{
    mem_free(w->answer);
    w->answer = text;
    return text;
}

static const char *lend_json(struct world *w, struct cJSON *value)
{
    char *text = value ? json_text(value) : mem_copy("null");
    json_free(value);
    return lend(w, text);
}

const char *world_containers(struct world *w)
{
    struct cJSON *all = json_array();
    for (struct list *n = w->engine.containers.next; n != &w->engine.containers; n = n->next) {
        const struct container *c = list_owner(n, struct container, node);
        struct cJSON *j = json_object();
        json_set_str(j, "name", c->name);
        json_set_str(j, "service", c->service);
        json_set_str(j, "image", c->image);
        json_set_str(j, "address", c->address);
        json_set_num(j, "place", c->slot);
        json_set_num(j, "generation", c->generation);
        json_set_bool(j, "running", c->state == ENGINE_RUNNING);
        json_set(all, NULL, j);
    }
    return lend_json(w, all);
}

const char *world_engine(struct world *w)
{
    struct cJSON *j = json_object();
    struct cJSON *calls = json_array();
    for (unsigned kind = 0; kind < OP_KINDS; kind++) {
        struct cJSON *count = json_object();
        json_set_num(count, "count", w->engine.calls[kind]);
        json_set(calls, NULL, count);
    }
    json_set(j, "calls", calls);
    json_set_num(j, "in_flight_most", w->engine.in_flight_most);
    json_set_num(j, "duplicates", w->engine.duplicates);
    json_set_num(j, "now_ms", (double)w->now_ms);
    json_set_num(j, "crash_in", (double)w->engine.crash_in);
    return lend_json(w, j);
}

const char *world_log(struct world *w)
{
    return buf_str(&w->engine.log);
}

const char *world_facts(struct world *w)
{
    return buf_str(&w->facts);
}

void world_forget(struct world *w)
{
    buf_clear(&w->facts);
    buf_clear(&w->engine.log);
}

const char *world_roster(struct world *w)
{
    return w->roster ? w->roster : "null";
}

const char *world_asked(struct world *w)
{
    return w->asked ? w->asked : "null";
}

const char *world_status(struct world *w, const char *service)
{
    return lend_json(w, fleet_status(w->fleet, *service ? service : NULL, w->now_ms));
}

const char *world_deploy_state(struct world *w, const char *service)
{
    return lend_json(w, fleet_deploy_state(w->fleet, service));
}

const char *world_decisions(struct world *w, const char *service)
{
    return lend_json(w, fleet_decisions(w->fleet, *service ? service : NULL, 0));
}

const char *world_operate(struct world *w, const char *what, const char *object, uint32_t count,
                          uint32_t hold_ms)
{
    struct fleet *f = w->fleet;
    if (!strcmp(what, "scale")) {
        return lend_json(w, fleet_scale(f, object, count, hold_ms, "uid 0", w->now_ms));
    } else if (!strcmp(what, "deploy")) {
        return lend_json(w, fleet_deploy(f, object, "uid 0", w->now_ms));
    } else if (!strcmp(what, "drain") || !strcmp(what, "undrain")) {
        return lend_json(w, fleet_drain(f, object, *what == 'd', "uid 0", w->now_ms));
    } else if (!strcmp(what, "add") || !strcmp(what, "remove")) {
        return lend_json(w, fleet_backend(f, "legacy", object, *what == 'a', "uid 0", w->now_ms));
    } else if (!strcmp(what, "weight")) {
        return lend_json(w, fleet_weight(f, object, count, "uid 0", w->now_ms));
    } else if (!strcmp(what, "restart")) {
        return lend_json(w, fleet_restart(f, object, "uid 0", w->now_ms));
    } else if (!strcmp(what, "approve")) {
        return lend_json(w, fleet_approve(f, object, "uid 0", w->now_ms));
    } else if (!strcmp(what, "stop")) {
        return lend_json(w, fleet_stop(f, object, "uid 0", w->now_ms));
    } else if (!strcmp(what, "members")) { /* {"service":[...]} */
        struct cJSON *given = json_parse(object, strlen(object)), *list = json_first(given);
        fleet_members(f, json_name(list), json_copy(list), w->now_ms);
        json_free(given);
        return "{\"ok\":true}";
    } else if (!strcmp(what, "lost")) {
        fleet_member_lost(f, "web", object, "the container ended", w->now_ms);
        return "{\"ok\":true}";
    } else if (!strcmp(what, "stop_all")) {
        fleet_stop_all(f, w->now_ms);
    } else if (!strcmp(what, "surveyed")) {
        return lend(w, mem_copy(fleet_surveyed(f) ? "true" : "false"));
    }
    return lend(w, mem_copy(fleet_idle(f) ? "true" : "false"));
}

void world_keep(struct world *w, const char *kind, const char *key, const char *json)
{
    keep_port(w, kind, key, json);
}

const char *world_kept(struct world *w)
{
    struct cJSON *all = json_object();
    size_t at = 0;
    const char *where;
    void *text;
    while (map_next(&w->kept, &at, &where, &text)) {
        char *name = mem_copy(where);
        *strchr(name, '\n') = ' ';
        json_set(all, name, json_parse(text, strlen(text)));
        mem_free(name);
    }
    return lend_json(w, all);
}

uint64_t world_tick_cost_us(struct world *w, unsigned count)
{
    uint64_t before_us = clock_cpu_us();
    for (unsigned at = 0; at < count; at++) {
        fleet_tick(w->fleet, w->now_ms);
    }
    return clock_cpu_us() - before_us;
}
