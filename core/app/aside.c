/* aside.c: balance policies that hang again and again.
 *
 * A policy that runs too long is interrupted inside its worker. What even that does not reach is
 * killed by the heartbeat watch, and the next worker would hang in the same place: so a generation
 * that cost ASIDE_KILLS workers within ASIDE_MS is set aside. Workers get the configuration in
 * force again, with "builtin_balance", and decide in C until the next reload. */
#include "app/master.h"

#include "base/ban.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    ASIDE_MS = 60000
};

void aside_note_kill(struct master *m, uint64_t now_ms)
{
    struct aside *a = &m->aside;
    a->killed_ms[a->next] = now_ms;
    a->next = (a->next + 1) % ASIDE_KILLS;
    uint64_t oldest_ms = a->killed_ms[a->next];
    if (!a->on && oldest_ms && now_ms - oldest_ms < ASIDE_MS) {
        a->on = a->due = true;
        log_error("balance policies are set aside until the next reload: least connections in "
                  "their place",
                  "generation=%u hung=%d within_s=%d", m->generation, ASIDE_KILLS, ASIDE_MS / 1000);
    }
}

void aside_tick(struct master *m)
{
    /* While a generation is on its way this would take its place in the workers. */
    if (!m->aside.due || m->reload.phase != RELOAD_IDLE) {
        return;
    }
    m->aside.due = false;
    json_set_bool(m->config, "builtin_balance", true);
    mem_free(m->config_text);
    m->config_text = json_text(m->config);
    workers_again(m);
}

void aside_clear(struct master *m)
{
    m->aside = (struct aside){0};
}
