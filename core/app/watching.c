/* watching.c: alerts as the master runs them (watch/alerts.h): an evaluation every `alerting.interval`.
 *
 *   collecting_views --+--> alerts: rules by a path, at once
 *                      +--> policy process: rules in Lua, anomalies --answer--> alerts
 *   fleet_status -------> which services are under own work --> both
 *
 * Invariants: rules by a path wait for nobody; without an answer, the others stay as they are. Nothing is
 * evaluated before the fleet knows what runs, else all of it would seem gone. */
#include "app/history.h"
#include "app/master.h"

#include <string.h>

#include "admin/admin.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "fleet/fleet.h"
#include "store/store.h"
#include "watch/alerts.h"

enum {
    WORK_MOST_MS = 600000 /* scaling or draining that takes longer is no excuse any more */
};

/* What is being done to a service. */
struct work {
    double desired, drained;
    uint64_t scaled_ms, drained_ms; /* when it was told to; 0 = no more */
    bool seen;
};

struct watching {
    struct alerts *alerts;
    uint64_t evaluate_ms;   /* next */
    bool restored;          /* what was kept is known */
    bool outside;           /* the policy process has something to say */
    uint64_t policy_errors; /* that the counters have already */
    struct map works;       /* service -> struct work */
};

static struct alerts_now now_of(uint64_t now_ms)
{
    return (struct alerts_now){.now_ms = now_ms, .wall_ms = clock_wall_ms()};
}

/* ---- What alerts ask for ------------------------------------------------------------------ */

static struct store *store_of(const struct master *m)
{
    return m->history ? m->history->store : NULL;
}

static void port_begin(void *arg)
{
    if (store_of(arg)) {
        store_batch_begin(store_of(arg));
    }
}

static void port_commit(void *arg)
{
    if (store_of(arg)) {
        store_batch_commit(store_of(arg));
    }
}

static void port_save(void *arg, const char *kind, const char *key, const char *json)
{
    if (store_of(arg)) {
        (void)store_put(store_of(arg), kind, key, json);
    }
}

static void port_remove(void *arg, const char *kind, const char *key)
{
    if (store_of(arg)) {
        (void)store_remove(store_of(arg), kind, key);
    }
}

static void port_notify(void *arg, const struct cJSON *message)
{
    const struct cJSON *group = json_get(message, "group"),
                       *first = json_first(json_get(group, "alerts"));
    log_info("notification", "id=%s reason=%s group=%s alerts=%zu first=%s",
             json_str(message, "id", ""), json_str(message, "reason", ""),
             json_str(group, "groupKey", ""), json_count(json_get(message, "keys")),
             json_value_str(json_path(first, "annotations.summary"), ""));
    telling_notify(arg, message);
}

static void port_fact(void *arg, const struct alerts_fact *fact)
{
    struct master *m = arg;
    char *detail = mem_printf("%s%s%s%s%s", fact->name, *fact->detail ? ": " : "", fact->detail,
                              *fact->who ? ", by " : "", fact->who);
    facts_take(m, &(struct fact){
                      .at_ms = clock_wall_ms(),
                      .kind = "alert",
                      .service = fact->service,
                      .backend = fact->instance,
                      .what = fact->what,
                      .detail = detail,
                      .worker = -1,
                      .bad = fact->bad,
                  });
    mem_free(detail);
}

/* ---- Own work ----------------------------------------------------------------------------- */

static struct work *work_of(struct watching *w, const char *service)
{
    struct work *k = map_get(&w->works, service);
    if (!k) {
        k = mem_new(sizeof *k);
        k->desired = -1;
        (void)map_put(&w->works, service, k);
    }
    return k;
}

static double count_drained(const struct cJSON *service)
{
    double drained = 0;
    for (const struct cJSON *i = json_first(json_get(service, "instances")); i; i = json_next(i)) {
        drained += json_bool(i, "drained", false);
    }
    return drained;
}

/* Whether a deploy, a change of size, a replacement that somebody asked for or a drain is under way. A
 * lost instance that is being started again is none of these: then no more than `desired` are there. */
static bool under_work(struct watching *w, const struct cJSON *service, uint64_t now_ms)
{
    struct work *k = work_of(w, json_str(service, "name", ""));
    double desired = json_num(service, "desired", 0), up = json_num(service, "up", 0);
    double starting = json_num(service, "starting", 0), draining = json_num(service, "draining", 0);
    double drained = count_drained(service);
    if (desired != k->desired) {
        bool first = k->desired < 0;
        k->scaled_ms = !first || starting > 0 ? now_ms : 0;
        k->desired = desired;
    } else if (!starting && !draining) {
        k->scaled_ms = 0;
    }
    if (drained != k->drained) {
        k->drained_ms = drained > 0 ? now_ms : 0;
        k->drained = drained;
    }
    k->seen = true;
    return json_bool(service, "rolling", false) || up + starting > desired ||
           (draining > 0 && up >= desired) ||
           (k->scaled_ms && now_ms - k->scaled_ms < WORK_MOST_MS) ||
           (k->drained_ms && now_ms - k->drained_ms < WORK_MOST_MS);
}

static void forget_works(struct watching *w, bool all)
{
    const char *name;
    void *value;
    for (size_t at = 0; map_next(&w->works, &at, &name, &value);) {
        struct work *k = value;
        if (all || !k->seen) {
            (void)map_remove(&w->works, name);
            mem_free(k);
        } else {
            k->seen = false;
        }
    }
}

/* Names of services under own work; the caller owns them. */
static struct cJSON *suppressed(struct master *m, uint64_t now_ms)
{
    const struct cJSON *status = services_status(m, now_ms);
    struct cJSON *names = json_array();
    for (const struct cJSON *s = json_first(json_get(status, "services")); s; s = json_next(s)) {
        if (under_work(m->watching, s, now_ms)) {
            json_add_str(names, json_str(s, "name", ""));
        }
    }
    forget_works(m->watching, false);
    return names;
}

/* ---- Evaluation --------------------------------------------------------------------------- */

/* Errors of rules in Lua count as those of other policies do. */
static void count_errors(struct master *m)
{
    struct alerts_figures f;
    alerts_figures(m->watching->alerts, &f);
    m->counters.policy_errors += f.policy_errors - m->watching->policy_errors;
    m->watching->policy_errors = f.policy_errors;
}

static void count_anomalies(struct watch_counters *c, const struct cJSON *anomalies)
{
    for (const struct cJSON *a = json_first(anomalies); a; a = json_next(a)) {
        bool high = str_same(json_str(a, "severity", ""), "high");
        c->anomalies_high += high;
        c->anomalies_medium += !high;
    }
}

static void on_answer(struct master *m, enum child_question question, const struct cJSON *answer)
{
    if (question == CHILD_EVALUATE && answer && m->watching) {
        faults_on_evaluated(m, answer);
        count_anomalies(&m->counters, json_get(answer, "anomalies"));
        alerts_evaluate(m->watching->alerts, NULL, answer, NULL, now_of(clock_now_ms()));
        count_errors(m);
    } else if (question == CHILD_NOTIFY && m->telling) {
        telling_on_answer(m, answer);
    }
}

/* Takes all of it. */
static void ask_policies(struct master *m, struct cJSON *views, struct cJSON *names,
                         uint64_t now_ms)
{
    struct cJSON *question = json_object();
    json_set_num(question, "now_ms", (double)now_ms);
    json_set_num(question, "wall_ms", (double)clock_wall_ms());
    json_set(question, "views", views);
    json_set(question, "suppressed", names);
    char *text = json_text(question);
    (void)deciders_ask(m, CHILD_EVALUATE, text);
    mem_free(text);
    json_free(question);
}

static void evaluate(struct master *m, uint64_t now_ms)
{
    struct cJSON *views = collecting_views(m, now_ms), *names = suppressed(m, now_ms);
    char *failing = faults_words(m);
    json_set_str(json_get(views, "tidegate"), "failing", failing);
    mem_free(failing);
    char *certificate = certificates_words(m);
    if (certificate) {
        json_set_str(json_get(views, "tidegate"), "certificate", certificate);
    }
    mem_free(certificate);
    alerts_evaluate(m->watching->alerts, views, NULL, names, now_of(now_ms));
    if (m->watching->outside) {
        ask_policies(m, views, names, now_ms);
    } else {
        json_free(views);
        json_free(names);
    }
}

void watching_tick(struct master *m, uint64_t now_ms)
{
    struct watching *w = m->watching;
    if (now_ms >= w->evaluate_ms && fleet_surveyed(m->fleet)) {
        w->evaluate_ms = services_next_ms(now_ms, alerts_interval_ms(w->alerts));
        evaluate(m, now_ms);
    }
    alerts_tick(w->alerts, now_of(now_ms));
}

/* ---- Life --------------------------------------------------------------------------------- */

void watching_open(struct master *m)
{
    struct alerts_ports ports = {
        .arg = m,
        .begin = port_begin,
        .commit = port_commit,
        .save = port_save,
        .remove = port_remove,
        .notify = port_notify,
        .fact = port_fact,
    };
    m->watching = mem_new(sizeof *m->watching);
    m->watching->alerts = alerts_new(&ports);
    m->on_answer = on_answer;
}

static bool has_outside(const struct cJSON *config)
{
    for (const struct cJSON *i = json_first(json_get(config, "alerts")); i; i = json_next(i)) {
        if (!json_path(i, "when.metric_path")) {
            return true;
        }
    }
    for (const struct cJSON *s = json_first(json_get(config, "services")); s; s = json_next(s)) {
        if (json_count(json_get(s, "anomaly"))) {
            return true;
        }
    }
    return false;
}

/* What was kept before this start. */
struct restoring {
    struct master *m;
    const char *kind;
    struct alerts_now at;
};

static void restore_one(void *arg, const char *key, const char *json)
{
    const struct restoring *r = arg;
    alerts_restore(r->m->watching->alerts, r->kind, key, json, r->at);
}

static void restore(struct master *m)
{
    static const char *const kinds[] = {"silence", "alert_state"};
    for (size_t i = 0; store_of(m) && i < sizeof kinds / sizeof *kinds; i++) {
        struct restoring r = {m, kinds[i], now_of(clock_now_ms())};
        int rc = store_documents(store_of(m), kinds[i], restore_one, &r);
        if (rc) {
            log_error("alerts of before are not known", "kind=%s error=%s", kinds[i], err_text(rc));
        }
    }
}

void watching_apply(struct master *m, const struct cJSON *config)
{
    struct watching *w = m->watching;
    alerts_apply(w->alerts, config, now_of(clock_now_ms()));
    if (!w->restored) {
        w->restored = true;
        restore(m);
    }
    w->outside = has_outside(config);
    w->evaluate_ms = 0;
}

void watching_close(struct master *m)
{
    struct watching *w = m->watching;
    if (w) {
        m->on_answer = NULL;
        alerts_free(w->alerts);
        forget_works(w, true);
        map_free(&w->works);
        mem_free(w);
        m->watching = NULL;
    }
}

const struct alerts *watching_alerts(const struct master *m)
{
    return m->watching ? m->watching->alerts : NULL;
}

/* ---- Operators ---------------------------------------------------------------------------- */

void watching_ask(struct master *m, struct admin_request *request, const char *command,
                  const struct cJSON *args)
{
    struct alerts *a = m->watching->alerts;
    struct alerts_now at = now_of(clock_now_ms());
    const char *who = json_str(args, "author", admin_who(request));
    const char *comment = json_str(args, "comment", "");
    struct cJSON *out;
    if (str_same(command, "alerts") || str_same(command, "silences")) {
        admin_answer(request, *command == 'a' ? alerts_status(a, at) : alerts_silences(a, at));
        return;
    }
    if (str_same(command, "silence")) {
        double for_ms = json_num(args, "for_ms", 0);
        out = alerts_silence(a, json_get(args, "matchers"),
                             for_ms > 0 && for_ms < 1e15 ? (uint64_t)for_ms : 0, who, comment, at);
    } else if (str_same(command, "unsilence")) {
        out = alerts_unsilence(a, json_str(args, "id", ""), who, at);
    } else {
        out = alerts_acknowledge(a, json_str(args, "alert", ""), who, comment, at);
        telling_acknowledged(m);
    }
    kept_answer(m, request, out);
}
