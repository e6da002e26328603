/* facts.c: what happened, from wherever it comes.
 *
 *   fleet   --port_fact-->  facts_on_fleet  --+
 *   workers --IPC_FACT--->  facts_on_worker --+-->  facts_take: log, counters, whoever keeps history
 *
 * Invariants: every change of a backend, a circuit, a service or the engine passes facts_take once, and
 * each kind that does is counted. Owns: the services in panic. Workers only say that they meet it, at
 * most once a second each; it is over when none has said so for PANIC_OVER_MS. What is no change, such as
 * a failing policy, is only logged. */
#include "app/master.h"

#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "fleet/fleet.h"
#include "probe/probe.h"

enum {
    PANIC_OVER_MS = 5000
};

void facts_open(struct master *m)
{
    static const char *const kinds[] = {
        "alert",          "backend_down",      "backend_ejected", "backend_returned", "backend_up",
        "circuit_closed", "circuit_half_open", "circuit_opened",  "decision",         "deploy",
        "engine",         "instance",          "limit",           "panic_entered",    "panic_left",
        "policy",         "service",
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        m->counters.events[i].kind = kinds[i];
    }
}

static void count(struct watch_counters *c, const struct fact *fact)
{
    for (size_t i = 0; i < WATCH_EVENTS && c->events[i].kind; i++) {
        c->events[i].count += str_same(c->events[i].kind, fact->kind);
    }
    if (str_same(fact->kind, "decision")) {
        c->decisions++;
        c->decisions_up += strstr(fact->what, "scale up") != NULL;
        c->decisions_down += strstr(fact->what, "scale down") != NULL;
        c->decisions_held += strstr(fact->what, "hold") != NULL;
    }
}

void facts_take(struct master *m, const struct fact *fact)
{
    enum log_level level = fact->bad ? LOG_WARN : LOG_INFO;
    const char *service = *fact->service ? fact->service : NULL;
    const char *backend = *fact->backend ? fact->backend : NULL;
    count(&m->counters, fact);
    history_on_fact(m, fact);
    if (fact->worker >= 0) {
        log_write(level, fact->what, "kind=%s service=%s instance=%s worker=%d", fact->kind,
                  service, backend, fact->worker);
    } else {
        log_write(level, fact->what, "kind=%s service=%s instance=%s detail=%s", fact->kind,
                  service, backend, *fact->detail ? fact->detail : NULL);
    }
}

void facts_on_fleet(struct master *m, const struct fleet_fact *fact)
{
    facts_take(m, &(struct fact){
                      .at_ms = clock_wall_ms(),
                      .kind = fact->kind,
                      .service = fact->service,
                      .backend = fact->instance,
                      .what = fact->what,
                      .detail = fact->detail,
                      .worker = -1,
                      .bad = fact->bad,
                  });
}

static void take_panic(struct master *m, const char *kind, const char *service, const char *what,
                       const char *detail, bool bad)
{
    facts_take(m, &(struct fact){
                      .at_ms = clock_wall_ms(),
                      .kind = kind,
                      .service = service,
                      .backend = "",
                      .what = what,
                      .detail = detail,
                      .worker = -1,
                      .bad = bad,
                  });
}

static void on_panic(struct master *m, const char *service, const char *text)
{
    struct panic *p = m->panics;
    while (p && !str_same(p->service, service)) {
        p = p->next;
    }
    if (!p) {
        p = mem_new(sizeof *p);
        p->service = mem_copy(service);
        p->next = m->panics;
        m->panics = p;
        take_panic(m, "panic_entered", service, "panic: all backends are asked", text, true);
    }
    p->last_ms = clock_now_ms();
}

/* Changes that workers tell of; the others are news for the log only. */
static bool is_change(const char *kind)
{
    return !strncmp(kind, "circuit_", 8) || str_same(kind, "backend_ejected") ||
           str_same(kind, "backend_returned") || str_same(kind, "limit");
}

void facts_on_worker(struct master *m, const struct child *worker, const struct cJSON *fact)
{
    const char *kind = json_str(fact, "kind", ""), *backend = json_str(fact, "backend", "");
    const char *service = json_str(fact, "service", ""), *text = json_str(fact, "text", "");
    if (str_same(kind, "backend_failed")) {
        log_debug("a request failed at a backend: checking it", "instance=%s reason=%s", backend,
                  text);
        probe_hurry(m->probes, backend);
    } else if (str_same(kind, "panic")) {
        on_panic(m, service, text);
    } else if (is_change(kind)) {
        facts_take(m, &(struct fact){
                          .at_ms = clock_wall_ms(),
                          .kind = kind,
                          .service = service,
                          .backend = backend,
                          .what = text,
                          .detail = "",
                          .worker = (int)worker->index,
                          .bad = str_same(kind, "circuit_opened") ||
                                 str_same(kind, "backend_ejected") || str_same(kind, "limit"),
                      });
    } else {
        log_warn("data plane", "worker=%u kind=%s text=%s", worker->index, kind, text);
    }
}

void facts_tick(struct master *m, uint64_t now_ms)
{
    for (struct panic **at = &m->panics; *at;) {
        struct panic *p = *at;
        if (now_ms - p->last_ms < PANIC_OVER_MS) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        take_panic(m, "panic_left", p->service, "panic is over",
                   "no request ignored the circuits any more", false);
        mem_free(p->service);
        mem_free(p);
    }
}

void facts_close(struct master *m)
{
    while (m->panics) {
        struct panic *p = m->panics;
        m->panics = p->next;
        mem_free(p->service);
        mem_free(p);
    }
}
