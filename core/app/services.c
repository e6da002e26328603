/* services.c: the fleet and who it works with. Wiring only: who is told by whom.
 *
 *   engine  --listener-->  fleet  --ports.roster-->  workers
 *   probes  --changed--->    |    --ports.ask----->  policy process --DECISIONS--> fleet
 *   workers --ACK------->    |    --ports.fact---->  facts.c: log, counters, history
 *   control.c ---------->    |    --ports.keep---->  kept.c: documents
 *   collecting.c <-metrics-- +    --ports.probe_*->  probes
 *
 * Owns: the fleet, its probes, the engine and the client that both call with. */
#include "app/master.h"

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"
#include "engine/engine.h"
#include "fleet/fleet.h"
#include "net/net.h"
#include "probe/probe.h"

/* ---- What the fleet asks of us ---------------------------------------------------------- */

static int port_probe_add(void *arg, const char *id, const struct probe_spec *spec)
{
    struct master *m = arg;
    return probe_add(m->probes, id, spec);
}

static void port_probe_remove(void *arg, const char *id)
{
    struct master *m = arg;
    probe_remove(m->probes, id);
}

static void port_probe_reason(void *arg, const char *id, const char **ret_reason, int *ret_status,
                              uint32_t *ret_attempts)
{
    struct master *m = arg;
    *ret_reason = probe_last_reason(m->probes, id, ret_status, ret_attempts);
}

static void port_roster(void *arg, const struct fleet_roster *roster)
{
    char *json = fleet_roster_text(roster);
    workers_roster(arg, roster->version, json);
    mem_free(json);
}

static struct cJSON *port_metrics(void *arg, const char *service)
{
    return collecting_metrics(arg, service);
}

static void port_ask(void *arg, const struct fleet_snapshot *snapshot)
{
    struct master *m = arg;
    char *text = fleet_snapshot_text(m->fleet, snapshot);
    (void)deciders_ask(m, CHILD_DECIDE, text);
    mem_free(text);
}

static void port_fact(void *arg, const struct fleet_fact *fact)
{
    facts_on_fleet(arg, fact);
}

static void port_keep(void *arg, const char *kind, const char *key, const char *json)
{
    kept_put(arg, kind, key, json);
}

static uint64_t port_wall_ms(void *arg)
{
    (void)arg;
    return clock_wall_ms();
}

static void on_kept(struct master *m, const char *kind, const char *key, const char *json)
{
    fleet_restore(m->fleet, kind, key, json);
}

/* ---- What engine and probes tell --------------------------------------------------------- */

static void on_engine_up(void *arg, const char *description)
{
    struct master *m = arg;
    m->engine_up = true;
    fleet_on_engine_up(m->fleet, description, clock_now_ms());
}

static void on_engine_down(void *arg, const char *why)
{
    struct master *m = arg;
    m->engine_up = false;
    m->counters.engine_outages++;
    fleet_on_engine_down(m->fleet, why, clock_now_ms());
}

static void on_engine_event(void *arg, const struct engine_event *event)
{
    struct master *m = arg;
    fleet_on_engine_event(m->fleet, event, clock_now_ms());
}

static void on_engine_other(void *arg, enum engine_other_kind kind, const char *id)
{
    labels_on_other(arg, kind, id);
}

static void on_probe(void *arg, const struct probe_result *result)
{
    struct master *m = arg;
    fleet_on_probe(m->fleet, result, clock_now_ms());
}

/* ---- Life ------------------------------------------------------------------------------- */

int services_open(struct master *m, char **reterr)
{
    struct fleet_ports ports = {
        .arg = m,
        .probe_add = port_probe_add,
        .probe_remove = port_probe_remove,
        .probe_reason = port_probe_reason,
        .roster = port_roster,
        .metrics = port_metrics,
        .ask = port_ask,
        .fact = port_fact,
        .keep = port_keep,
        .wall_ms = port_wall_ms,
    };
    int rc = net_client_new(&m->loop, &m->client, reterr);
    if (rc) {
        return rc;
    }
    m->names = names_new(m);
    m->fleet = fleet_new(&ports, m->board);
    m->probes = probe_set_new(&m->loop, m->client, on_probe, m);
    for (const char *const *kind = fleet_kept_kinds(); *kind; kind++) {
        kept_recall(m, *kind, on_kept);
    }
    return 0;
}

int services_connect(struct master *m, const struct cJSON *cluster, char **reterr)
{
    struct engine_options options = {
        .loop = &m->loop,
        .client = m->client,
        .cluster_config = cluster,
        .state_dir = m->state_dir,
        .listener = {m, on_engine_up, on_engine_down, on_engine_event, on_engine_other},
    };
    int rc = engine_new(&options, &m->engine, reterr);
    if (!rc) {
        fleet_set_engine(m->fleet, m->engine);
        m->engine->kind->open(m->engine);
    }
    return rc;
}

const struct cJSON *services_status(struct master *m, uint64_t now_ms)
{
    if (!m->status || m->status_ms != now_ms) {
        services_forget(m);
        m->status = fleet_status(m->fleet, NULL, now_ms);
        m->status_ms = now_ms;
    }
    return m->status;
}

void services_forget(struct master *m)
{
    json_free(m->status);
    m->status = NULL;
}

uint64_t services_next_ms(uint64_t now_ms, uint64_t interval_ms)
{
    uint64_t interval = interval_ms ? interval_ms : 1;
    return (now_ms + interval / 2 + interval - 1) / interval * interval;
}

void services_close(struct master *m)
{
    services_forget(m);
    probe_set_close(m->probes);
    m->probes = NULL;
    if (m->engine) {
        m->engine->kind->close(m->engine);
        m->engine = NULL;
    }
    net_client_close(m->client);
    m->client = NULL;
    names_close(m->names);
    m->names = NULL;
}
