/* outbox_lane.c: one channel of the outbox: which message is tried when. See outbox.h. */
#include "watch/outbox_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- Letters ------------------------------------------------------------------------------- */

struct letter *letter_new(const char *id, const char *channel, struct cJSON *takes_message,
                          uint64_t order, uint64_t wall_ms)
{
    struct letter *l = mem_new(sizeof *l);
    const char *group = json_str(json_get(takes_message, "group"), "groupKey", "");
    l->message = takes_message;
    l->id = json_str(takes_message, "id", "");
    l->key = channel ? mem_printf("%s %s", id, channel) : mem_copy(id);
    l->group = hash_bytes(group, strlen(group));
    l->order = order;
    l->added_wall_ms = wall_ms;
    list_init(&l->node);
    return l;
}

void letter_free(struct letter *l)
{
    if (l) {
        mem_free(l->key);
        json_free(l->message);
        mem_free(l);
    }
}

char *letter_document(const struct letter *l, const char *channel)
{
    struct cJSON *out = json_object();
    json_set_num(out, "order", (double)l->order);
    json_set_num(out, "added_ms", (double)l->added_wall_ms);
    if (channel) {
        json_set_str(out, "channel", channel);
    }
    json_set(out, "message", json_copy(l->message));
    char *text = json_text(out);
    json_free(out);
    return text;
}

/* ---- Lanes --------------------------------------------------------------------------------- */

struct lane *lane_new(const char *name)
{
    struct lane *lane = mem_new(sizeof *lane);
    lane->name = mem_copy(name);
    lane->kind = mem_copy("");
    list_init(&lane->queue);
    return lane;
}

void lane_free(struct lane *lane)
{
    while (!list_empty(&lane->queue)) {
        struct letter *l = list_owner(lane->queue.next, struct letter, node);
        list_remove(&l->node);
        letter_free(l);
    }
    mem_free(lane->last_error);
    mem_free(lane->kind);
    mem_free(lane->name);
    mem_free(lane);
}

void lane_configure(struct lane *lane, const struct cJSON *channel, uint64_t now_ms)
{
    const struct cJSON *rate = json_get(channel, "rate");
    bool anew = !lane->configured;
    lane->configured = true;
    mem_free(lane->kind);
    lane->kind = mem_copy(json_str(channel, "kind", ""));
    lane->send_resolved = json_bool(channel, "send_resolved", true);
    lane->give_up_ms = (uint64_t)json_num(channel, "give_up_ms", 86400000);
    lane->per_ms = json_num(rate, "per_minute", 30) / 60000;
    lane->burst = json_num(rate, "burst", 10);
    if (anew || lane->tokens > lane->burst) {
        lane->tokens = lane->burst;
        lane->filled_ms = now_ms;
    }
    /* Whatever was wrong with it may have been put right. */
    lane->rests_until_ms = 0;
}

void lane_insert(struct lane *lane, struct letter *l)
{
    struct list *at = lane->queue.prev;
    while (at != &lane->queue && list_owner(at, struct letter, node)->order > l->order) {
        at = at->prev;
    }
    list_prepend(at, &l->node);
    lane->figures.waiting += !l->test;
}

static bool has_token(struct lane *lane, uint64_t now_ms)
{
    lane->tokens += (double)(now_ms - lane->filled_ms) * lane->per_ms;
    lane->tokens = lane->tokens > lane->burst ? lane->burst : lane->tokens;
    lane->filled_ms = now_ms;
    return lane->tokens >= 1;
}

/* Whether an earlier message of its group waits. */
static bool is_held_up(const struct lane *lane, const struct letter *l)
{
    const struct list *at = l->node.prev;
    for (; at != &lane->queue; at = at->prev) {
        const struct letter *before = list_owner(at, struct letter, node);
        if (before->group == l->group && !before->test) {
            return true;
        }
    }
    return false;
}

/* On disk, or not waited for any more. */
static bool is_kept(const struct letter *l, uint64_t now_ms)
{
    return !l->sequence || now_ms >= l->keep_by_ms;
}

struct letter *lane_pick(struct lane *lane, uint64_t now_ms)
{
    struct letter *best = NULL;
    if (lane->open || list_empty(&lane->queue)) {
        return NULL;
    }
    bool rests = now_ms < lane->rests_until_ms || !has_token(lane, now_ms);
    for (struct list *at = lane->queue.next; at != &lane->queue; at = at->next) {
        struct letter *l = list_owner(at, struct letter, node);
        if (l->test) {
            return l;
        } else if (!rests && l->due_ms <= now_ms && is_kept(l, now_ms) &&
                   (!best || l->tries < best->tries) && !is_held_up(lane, l)) {
            best = l;
        }
        /* None is tried less often; tests come first in the queue. */
        if (rests || (best && !best->tries)) {
            break;
        }
    }
    return best;
}

void lane_open(struct lane *lane, struct letter *l)
{
    lane->open = l;
    l->tries++;
    lane->tokens -= !l->test;
}

/* Between half of it and all: those that failed together do not come back together. */
static uint64_t back_off_ms(uint32_t failures, uint64_t salt)
{
    uint64_t most = OUTBOX_BACK_OFF_MS;
    for (uint32_t i = 1; i < failures && most < OUTBOX_BACK_OFF_MOST_MS; i++) {
        most *= 2;
    }
    most = most > OUTBOX_BACK_OFF_MOST_MS ? OUTBOX_BACK_OFF_MOST_MS : most;
    return most / 2 + hash_more(salt, &failures, sizeof failures) % (most / 2 + 1);
}

static void note_failure(struct lane *lane, struct letter *l, const struct outbox_outcome *outcome,
                         struct outbox_now at)
{
    uint64_t salt = hash_bytes(l->key, strlen(l->key)), asked = outcome->retry_after_ms;
    asked = asked > OUTBOX_RETRY_AFTER_MOST_MS ? OUTBOX_RETRY_AFTER_MOST_MS : asked;
    uint64_t rest = back_off_ms(++lane->failures, salt), own = back_off_ms(l->tries, ~salt);
    lane->rests_until_ms = at.now_ms + (rest > asked ? rest : asked);
    l->due_ms = at.now_ms + (own > asked ? own : asked);
    lane->figures.failing_ms = lane->figures.failing_ms ? lane->figures.failing_ms : at.wall_ms;
}

/* It answers again: those that had to wait for that alone are due. */
static void note_answer(struct lane *lane)
{
    lane->failures = 0;
    lane->rests_until_ms = 0;
    lane->figures.failing_ms = 0;
    for (struct list *at = lane->queue.next; at != &lane->queue; at = at->next) {
        struct letter *l = list_owner(at, struct letter, node);
        if (l->unreached) {
            l->due_ms = 0;
        }
    }
}

bool lane_close(struct lane *lane, const struct outbox_outcome *outcome, struct outbox_now at)
{
    struct letter *l = lane->open;
    lane->open = NULL;
    if (l->test) {
        return true;
    }
    bool sent = outcome->result == OUTBOX_SENT, again = outcome->result == OUTBOX_AGAIN;
    l->reached |= outcome->reached;
    l->unreached = outcome->unreached;
    lane->figures.sent += sent;
    lane->figures.failed += !sent;
    lane->figures.retried += again && l->tries == 1;
    lane->figures.dropped += !sent && !again;
    lane->figures.last_sent_ms = sent ? at.wall_ms : lane->figures.last_sent_ms;
    mem_free(lane->last_error);
    lane->last_error = sent ? NULL : mem_copy(outcome->text);
    if (again) {
        note_failure(lane, l, outcome, at);
    } else {
        note_answer(lane);
    }
    return !again;
}

struct letter *lane_hopeless(const struct lane *lane, uint64_t wall_ms, const char **ret_why)
{
    for (struct list *at = lane->queue.next; at != &lane->queue; at = at->next) {
        struct letter *l = list_owner(at, struct letter, node);
        if (l->test || l == lane->open) {
            continue;
        } else if (lane->figures.waiting > OUTBOX_WAITING) {
            *ret_why = "too many wait";
            return l;
        } else if (wall_ms > l->added_wall_ms + lane->give_up_ms) {
            *ret_why = "it could not be delivered for too long";
            return l;
        }
        return NULL; /* the others are younger */
    }
    return NULL;
}
