/* call.c: calls of the engine for one instance, and what their outcomes mean.
 *
 * Invariants: at most one call of an instance is in flight, beside a sample. An instance that left
 * the state for which a call was made keeps only what the call found out; the step of its new state
 * goes on from there. A time-out or a lost engine leaves the outcome unknown (`unsure`): the next
 * step looks before it acts. */
#include "fleet/fleet_private.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

bool fleet_call_lost(struct fleet *f, int code)
{
    if (code == -ECANCELED) {
        /* Most likely the engine is being closed, the end of all: start nothing, call no port. If
         * time passes nevertheless, compare and go on. */
        f->quiet = true;
        f->listed = false;
        f->list_ms = f->now_ms + FLEET_RETRY_MS;
    }
    return code == -ECANCELED || code == -ECONNREFUSED;
}

void fleet_call_note(struct fleet *f, enum fleet_call call, int code)
{
    f->call_counts[call][code != 0]++;
}

bool fleet_calls(const struct fleet *f, unsigned at, struct fleet_calls *ret_calls)
{
    static const char *const NAMES[FLEET_CALLS] = {
        [FLEET_CALL_NONE] = "",         [FLEET_CALL_CREATE] = "create",
        [FLEET_CALL_START] = "start",   [FLEET_CALL_INSPECT] = "inspect",
        [FLEET_CALL_LOGS] = "logs",     [FLEET_CALL_STOP] = "stop",
        [FLEET_CALL_LIST] = "list",     [FLEET_CALL_SAMPLE] = "sample",
        [FLEET_CALL_REMOVE] = "remove",
    };
    unsigned call = at + 1; /* without FLEET_CALL_NONE */
    if (call >= FLEET_CALLS) {
        return false;
    }
    *ret_calls =
        (struct fleet_calls){NAMES[call], f->call_counts[call][0], f->call_counts[call][1]};
    return true;
}

static void begin(struct instance *i, enum fleet_call call)
{
    must(i->call == FLEET_CALL_NONE);
    i->call = call;
    i->calls++;
    i->seq = ++i->fleet->seq;
}

static void end(struct instance *i, int code)
{
    fleet_call_note(i->fleet, i->call, code);
    i->call = FLEET_CALL_NONE;
    i->calls--;
    i->seq = ++i->fleet->seq;
}

/* Whether the engine is not there: the next step waits for it, or tries again a while later. */
static bool lost(struct instance *i, const struct engine_error *error)
{
    if (!fleet_call_lost(i->fleet, error->code)) {
        return false;
    }
    i->retry_ms = i->fleet->now_ms + FLEET_RETRY_MS;
    return true;
}

/* The steps after an outcome. The instance may be freed by it. */
static void go_on(struct instance *i)
{
    struct fleet *f = i->fleet;
    if (i->service) {
        fleet_service_reconcile(i->service);
    }
    fleet_settle(f);
}

/* Why a create or start failed, in words that name the kind of trouble. The caller owns it. */
static char *trouble(const struct instance *i, const struct engine_error *error, const char *doing)
{
    const char *text = error->text ? error->text : "";
    const char *kind = "";
    if (error->code == -EADDRINUSE && !strstr(text, "port")) {
        kind = "port taken: ";
    } else if (error->code == -ENOENT && !strstr(text, "not found") && !strstr(text, "missing")) {
        kind = "not found: ";
    } else if (error->code == -ENOSPC && !strstr(text, "space")) {
        kind = "no space left: ";
    } else if (error->code == -EEXIST) {
        return mem_printf("name taken by a foreign container: %s", i->name);
    }
    return *text ? mem_printf("%s%s", kind, text)
                 : mem_printf("%s failed: %s", doing, err_text(error->code));
}

/* Common part of create and start: true when the call succeeded or the failure is dealt with. */
static bool unclear(struct instance *i, const struct engine_error *error)
{
    if (!lost(i, error) && error->code != -ETIMEDOUT) {
        return false;
    }
    i->unsure = true;
    i->retry_ms = i->fleet->now_ms + FLEET_RETRY_MS;
    return true;
}

static void failed(struct instance *i, const struct engine_error *error, const char *doing)
{
    char *why = trouble(i, error, doing);
    fleet_instance_fail(i, why);
    mem_free(why);
}

static void on_created(void *arg, const struct engine_error *error, const char *id)
{
    struct instance *i = arg;
    end(i, error->code);
    if (!error->code) {
        str_copy(i->engine_id, sizeof i->engine_id, id ? id : "");
    }
    if (i->state == FLEET_CREATING) {
        if (!error->code) {
            fleet_instance_to(i, FLEET_STARTING, NULL);
        } else if (error->code == -EEXIST) {
            i->unsure = true; /* ours from before a crash, or foreign: look */
        } else if (!unclear(i, error)) {
            failed(i, error, "create");
        }
    } else if (i->state == FLEET_REMOVING && error->code && !unclear(i, error)) {
        fleet_instance_to(i, FLEET_GONE, i->reason); /* given up meanwhile, and never made */
    }
    go_on(i);
}

void fleet_call_create(struct instance *i)
{
    struct fleet *f = i->fleet;
    const struct engine_spec spec = {
        .name = i->name,
        .cluster = f->cluster,
        .service = i->service->name,
        .serial = i->serial,
        .slot = i->place,
        .generation = i->generation,
        .spec_hash = i->spec_hash,
        .service_config = i->service->config,
    };
    begin(i, FLEET_CALL_CREATE);
    int rc = f->engine->kind->create(f->engine, &spec, on_created, i);
    if (rc) {
        end(i, rc);
        failed(i, &(struct engine_error){.code = rc, .text = ""}, "create");
    }
}

static const char *id_of(const struct instance *i)
{
    return i->engine_id[0] ? i->engine_id : i->name;
}

static void on_started(void *arg, const struct engine_error *error)
{
    struct instance *i = arg;
    end(i, error->code);
    if (i->state == FLEET_STARTING) {
        if (!error->code) {
            fleet_instance_to(i, FLEET_WAITING, NULL);
            i->inspect_ms = i->fleet->now_ms;
        } else if (!unclear(i, error)) {
            failed(i, error, "start");
        }
    }
    go_on(i);
}

void fleet_call_start(struct instance *i)
{
    begin(i, FLEET_CALL_START);
    int rc = i->fleet->engine->kind->start(i->fleet->engine, id_of(i), on_started, i);
    if (rc) {
        end(i, rc);
        failed(i, &(struct engine_error){.code = rc, .text = ""}, "start");
    }
}

static void on_inspected(void *arg, const struct engine_error *error,
                         const struct engine_instance *seen)
{
    struct instance *i = arg;
    end(i, error->code);
    if (i->state == FLEET_GONE) {
        go_on(i);
        return;
    }
    if (error->code == -ENOENT || (!error->code && seen->state == ENGINE_GONE)) {
        fleet_observe_gone(i);
    } else if (!error->code) {
        fleet_observe(i, seen);
    } else {
        (void)lost(i, error);
        i->inspect_ms = i->retry_ms = i->fleet->now_ms + FLEET_RETRY_MS;
    }
    go_on(i);
}

void fleet_call_inspect(struct instance *i)
{
    i->inspect_ms = 0;
    begin(i, FLEET_CALL_INSPECT);
    if (i->fleet->engine->kind->inspect(i->fleet->engine, id_of(i), on_inspected, i)) {
        end(i, -EIO);
        i->inspect_ms = i->retry_ms = i->fleet->now_ms + FLEET_RETRY_MS;
    }
}

static void logs_read(struct instance *i, const char *text, size_t len)
{
    struct failure *failure = &i->service->failure;
    if (str_same(failure->instance, i->id)) {
        size_t skip = len > FLEET_LOG_BYTES ? len - FLEET_LOG_BYTES : 0;
        mem_free(failure->logs);
        failure->logs = mem_copy_bytes(text + skip, len - skip);
    }
    fleet_instance_failure_shown(i);
    fleet_instance_to(i, i->ended ? FLEET_REMOVING : FLEET_STOPPING, i->reason);
}

static void on_logs(void *arg, const struct engine_error *error, const char *text, size_t len)
{
    struct instance *i = arg;
    end(i, error->code);
    if (i->state == FLEET_FAILED && !lost(i, error)) {
        logs_read(i, error->code || !text ? "" : text, error->code || !text ? 0 : len);
    }
    go_on(i);
}

void fleet_call_logs(struct instance *i)
{
    begin(i, FLEET_CALL_LOGS);
    if (i->fleet->engine->kind->logs(i->fleet->engine, id_of(i), FLEET_LOG_LINES, on_logs, i)) {
        end(i, -EIO);
        logs_read(i, "", 0);
    }
}

/* An ending that must succeed in the end: tried again, at first soon. */
static void again_later(struct instance *i, const struct engine_error *error, const char *what)
{
    if (lost(i, error)) {
        return; /* the list after the next connection tells */
    }
    if (i->tries++ == 0) {
        fleet_tell(i->fleet, "instance", i->service, i, what, error->text ? error->text : "", true);
    }
    uint64_t wait_ms = (uint64_t)FLEET_RETRY_MS << (i->tries < 6 ? i->tries - 1 : 5);
    i->retry_ms = i->fleet->now_ms + wait_ms;
}

static void on_stopped(void *arg, const struct engine_error *error)
{
    struct instance *i = arg;
    end(i, error->code);
    if (i->state == FLEET_STOPPING) {
        if (!error->code || error->code == -ENOENT || i->tries >= FLEET_TRIES) {
            fleet_instance_to(i, FLEET_REMOVING, i->reason);
        } else {
            again_later(i, error, "stop failed");
        }
    }
    go_on(i);
}

void fleet_call_stop(struct instance *i)
{
    uint32_t timeout_s = (i->service->spec.stop_timeout_ms + 999) / 1000;
    begin(i, FLEET_CALL_STOP);
    if (i->fleet->engine->kind->stop(i->fleet->engine, id_of(i), timeout_s, on_stopped, i)) {
        end(i, -EIO);
        i->retry_ms = i->fleet->now_ms + FLEET_RETRY_MS;
    }
}

static void on_removed(void *arg, const struct engine_error *error)
{
    struct instance *i = arg;
    end(i, error->code);
    if (i->state == FLEET_REMOVING) {
        if (!error->code || error->code == -ENOENT) {
            fleet_instance_to(i, FLEET_GONE, i->reason);
        } else {
            again_later(i, error, "remove failed");
        }
    }
    go_on(i);
}

void fleet_call_remove(struct instance *i)
{
    begin(i, FLEET_CALL_REMOVE);
    if (i->fleet->engine->kind->remove(i->fleet->engine, id_of(i), on_removed, i)) {
        end(i, -EIO);
        i->retry_ms = i->fleet->now_ms + FLEET_RETRY_MS;
    }
}
