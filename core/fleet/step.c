/* step.c: what an instance does next, given its state, what is known of it and the time.
 * Level-triggered: called as often as anybody likes, it starts at most one call. */
#include "fleet/fleet_private.h"

#include "base/ban.h"
#include "base/mem.h"

static bool due(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms && now_ms >= at_ms;
}

/* Whether a call may start: none is in flight, the engine is known, nothing asks to wait. */
static bool may_call(const struct instance *i)
{
    return i->call == FLEET_CALL_NONE && fleet_can_act(i->fleet) && i->fleet->now_ms >= i->retry_ms;
}

static void step_launch(struct instance *i)
{
    if (!may_call(i)) {
        return;
    }
    if (i->unsure) {
        fleet_call_inspect(i);
    } else if (i->state == FLEET_CREATING) {
        fleet_call_create(i);
    } else {
        fleet_call_start(i);
    }
}

static void step_waiting(struct instance *i)
{
    fleet_check_step(i);
    if (i->state != FLEET_WAITING || i->backend || !fleet_can_act(i->fleet)) {
        return; /* an outage of the engine is not the instance's fault */
    }
    if (i->fleet->now_ms - i->since_ms >= i->service->spec.deploy_timeout_ms) {
        char *why = fleet_check_verdict(i);
        if (i->adopted) {
            fleet_instance_down(i, why);
        } else {
            fleet_instance_fail(i, why);
        }
        mem_free(why);
    } else if (due(i->inspect_ms, i->fleet->now_ms) && may_call(i)) {
        fleet_call_inspect(i);
    }
}

static void step_down(struct instance *i)
{
    uint64_t now_ms = i->fleet->now_ms;
    fleet_check_step(i);
    if (i->state != FLEET_DOWN || i->backend || !may_call(i)) {
        return;
    }
    if (due(i->inspect_ms, now_ms)) {
        fleet_call_inspect(i);
    } else if (i->ended && (i->excused || now_ms - i->since_ms >= FLEET_GRACE_MS)) {
        if (i->up_ms && !i->excused && i->since_ms - i->up_ms < FLEET_QUICK_DEATH_MS) {
            fleet_service_back_off(i->service);
        }
        fleet_instance_drop(i, i->reason);
    }
}

/* Drained when no worker sends it anything new and nothing is under way, or when time is up. */
static void step_draining(struct instance *i)
{
    struct fleet *f = i->fleet;
    uint64_t in_flight =
        i->slot == FLEET_NO_SLOT ? 0 : board_in_flight(f->board, (unsigned)i->slot);
    bool acked = i->drain_version && f->roster_acked >= i->drain_version;
    bool late = f->now_ms - i->since_ms >= i->service->spec.drain_timeout_ms;
    if (!(acked && in_flight == 0) && !late && !i->ended) {
        return;
    }
    if (i->backend) {
        fleet_instance_to(i, FLEET_GONE, i->reason);
    } else if (i->ended) {
        fleet_instance_to(i, FLEET_REMOVING, i->reason);
    } else if (in_flight) {
        char *why = mem_printf("%s; drain time-out with %llu in flight", i->reason,
                               (unsigned long long)in_flight);
        fleet_instance_to(i, FLEET_STOPPING, why);
        mem_free(why);
    } else {
        fleet_instance_to(i, FLEET_STOPPING, i->reason);
    }
}

static void step_failed(struct instance *i)
{
    if (!may_call(i)) {
        return;
    }
    if (i->engine_id[0]) {
        fleet_call_logs(i);
    } else {
        fleet_instance_failure_shown(i); /* nothing was made */
        fleet_instance_to(i, FLEET_GONE, i->reason);
    }
}

static void step_ending(struct instance *i)
{
    if (!may_call(i)) {
        return;
    }
    if (!i->engine_id[0]) {
        fleet_call_inspect(i); /* was it created at all, and is it ours? */
    } else if (i->state == FLEET_STOPPING) {
        fleet_call_stop(i);
    } else {
        fleet_call_remove(i);
    }
}

void fleet_instance_step(struct instance *i)
{
    switch (i->state) {
    case FLEET_CREATING:
    case FLEET_STARTING:
        step_launch(i);
        break;
    case FLEET_WAITING:
        step_waiting(i);
        break;
    case FLEET_UP:
        if (due(i->inspect_ms, i->fleet->now_ms) && may_call(i)) {
            fleet_call_inspect(i);
        }
        break;
    case FLEET_DOWN:
        step_down(i);
        break;
    case FLEET_DRAINING:
        step_draining(i);
        break;
    case FLEET_FAILED:
        step_failed(i);
        break;
    case FLEET_STOPPING:
    case FLEET_REMOVING:
        step_ending(i);
        break;
    case FLEET_NEW:
    case FLEET_GONE:
    case FLEET_STATES:
        break;
    }
}
