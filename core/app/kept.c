/* kept.c: what must outlive this process, as documents in the store.
 *
 *   fleet   --port_keep-->  kept_put  -->  store      at start: kept_recall --> fleet_restore
 *
 * An operator who is told "done" relies on it: such answers wait until what was said so far is on disk.
 * Owns: those answers. Without a store nothing outlives us, and nobody waits. */
#include "app/history.h"
#include "app/master.h"

#include "admin/admin.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store.h"

enum {
    DISK_MS = 2000 /* a disk that takes longer is told of, and its operator not kept waiting */
};

struct kept_answer {
    struct kept_answer *next;
    struct admin_request *request;
    struct cJSON *answer;
    uint64_t sequence, deadline_ms;
};

/* ---- Documents ---- */

void kept_put(struct master *m, const char *kind, const char *key, const char *json)
{
    if (m->history && json) {
        (void)store_put(m->history->store, kind, key, json);
    } else if (m->history) {
        (void)store_remove(m->history->store, kind, key);
    }
}

struct recall {
    struct master *m;
    const char *kind;
    kept_fn *fn;
};

static void on_document(void *arg, const char *key, const char *json)
{
    const struct recall *r = arg;
    r->fn(r->m, r->kind, key, json);
}

void kept_recall(struct master *m, const char *kind, kept_fn *fn)
{
    struct recall r = {m, kind, fn};
    int rc = m->history ? store_documents(m->history->store, kind, on_document, &r) : 0;
    if (rc) {
        log_error("what was kept is not known any more", "kind=%s error=%s", kind, err_text(rc));
    }
}

/* ---- Answers ---- */

void kept_answer(struct master *m, struct admin_request *request, struct cJSON *takes)
{
    struct store_figures figures = {0};
    if (m->history) {
        store_figures(m->history->store, &figures);
    }
    if (figures.durable >= figures.sequence || !json_bool(takes, "ok", false)) {
        admin_answer(request, takes);
        return;
    }
    struct kept_answer *a = mem_new(sizeof *a);
    *a = (struct kept_answer){m->kept_answers, request, takes, figures.sequence,
                              clock_now_ms() + DISK_MS};
    m->kept_answers = a;
}

/* Gives those that wait for no more than `sequence`, and those whose time is over. */
static void release(struct master *m, uint64_t sequence, uint64_t now_ms)
{
    for (struct kept_answer **at = &m->kept_answers; *at;) {
        struct kept_answer *a = *at;
        if (a->sequence > sequence && now_ms < a->deadline_ms) {
            at = &a->next;
            continue;
        }
        if (a->sequence > sequence) {
            json_set_str(a->answer, "warning",
                         "done, but not on disk yet: a crash now would undo it");
        }
        *at = a->next;
        admin_answer(a->request, a->answer);
        mem_free(a);
    }
}

void kept_on_durable(struct master *m, uint64_t sequence)
{
    release(m, sequence, clock_now_ms());
    telling_on_durable(m, sequence);
}

void kept_tick(struct master *m, uint64_t now_ms)
{
    release(m, 0, now_ms);
}

void kept_close(struct master *m)
{
    release(m, 0, UINT64_MAX);
}
