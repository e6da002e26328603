/* alert_groups.c: who is told when: alerts in groups, and the four times that govern a group.
 *
 *   news      a member fires that was not told, or one that was told has ended
 *   first     news, group_wait after it came
 *   later     news, group_interval after the message before at the earliest
 *   repeat    no news, repeat_interval after the message before, unless all are acknowledged
 *
 * An incident (anomalies that belong together) is told once, once more when it gets worse, and when all
 * of it is over. */
#include "watch/alert_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* What a look at a group's members says. */
struct outlook {
    uint32_t fresh, ended, firing, unacknowledged;
    int64_t cooled_ms; /* when the next member's cooldown is over; NEVER */
};

static int64_t earlier(int64_t a, int64_t b)
{
    return a == NEVER ? b : b == NEVER || a < b ? a : b;
}

/* ---- Membership ------------------------------------------------------------------------- */

static struct alert_group *group_new(struct alerts *a, char *key, struct cJSON *labels,
                                     const struct cJSON *channels)
{
    char id[17];
    struct alert_group *g = mem_new(sizeof *g);
    hash_hex(hash_bytes(key, strlen(key)), id);
    g->key = key;
    g->id = mem_copy(id);
    g->labels = labels;
    g->channels = channels ? json_copy(channels) : NULL;
    g->news_ms = g->told_ms = NEVER;
    list_init(&g->members);
    list_append(&a->groups, &g->link);
    return g;
}

static void group_free(struct alert_group *g)
{
    while (!list_empty(&g->members)) {
        alert_group_leave(list_owner(g->members.next, struct alert, in_group));
    }
    list_remove(&g->link);
    mem_free(g->key);
    mem_free(g->id);
    json_free(g->labels);
    json_free(g->channels);
    mem_free(g);
}

static struct alert_group *group_find(const struct alerts *a, const char *key)
{
    for (struct list *l = a->groups.next; l != &a->groups; l = l->next) {
        struct alert_group *g = list_owner(l, struct alert_group, link);
        if (str_same(g->key, key)) {
            return g;
        }
    }
    return NULL;
}

/* The labels that the members have in common by being in one group. */
static struct cJSON *group_labels(const struct alerts *a, const struct alert *al)
{
    struct cJSON *labels = json_object();
    if (al->incident) {
        json_set_str(labels, "alertname", al->name);
        return labels;
    }
    for (const struct cJSON *b = json_first(a->group_by); b; b = json_next(b)) {
        const char *name = json_value_str(b, "");
        const char *value = json_str(al->labels, name, NULL);
        if (value) {
            json_set_str(labels, name, value);
        }
    }
    return labels;
}

/* "{ops}:{alertname=\"HighCPU\", service=\"shop\"}" */
static char *group_key(const struct alert *al, const struct cJSON *labels)
{
    struct buf key;
    buf_init(&key, 1 << 16);
    const char *before = "{";
    for (const struct cJSON *c = json_first(al->channels); c; c = json_next(c)) {
        (void)buf_printf(&key, "%s%s", before, json_value_str(c, ""));
        before = ",";
    }
    (void)buf_printf(&key, "%s}:{", *before == '{' ? "{" : "");
    before = "";
    for (const struct cJSON *m = json_first(labels); m; m = json_next(m)) {
        (void)buf_printf(&key, "%s%s=\"%s\"", before, json_name(m), json_value_str(m, ""));
        before = ", ";
    }
    (void)buf_printf(&key, "}%s%s", al->incident ? "/" : "", al->incident ? al->incident : "");
    return buf_take(&key);
}

void alert_group_join(struct alerts *a, struct alert *al)
{
    a->due_ms = NEVER;
    if (al->group) {
        return;
    }
    struct cJSON *labels = group_labels(a, al);
    char *key = group_key(al, labels);
    struct alert_group *g = group_find(a, key);
    if (g) {
        mem_free(key);
        json_free(labels);
    } else {
        g = group_new(a, key, labels, al->channels);
        g->incident = al->incident != NULL;
    }
    al->group = g;
    list_append(&g->members, &al->in_group);
    if (al->told && al->told_ms != NEVER && al->told_ms > g->told_ms) {
        g->told_ms = al->told_ms; /* no repeat before its time */
        g->worst = al->severity > g->worst ? al->severity : g->worst;
    }
}

void alert_group_leave(struct alert *al)
{
    list_remove(&al->in_group);
    al->group = NULL;
}

void alert_groups_renew(struct alerts *a)
{
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        struct alert *al = list_owner(l, struct alert, link);
        const struct alert_group *old = al->group;
        int64_t told_ms = old ? old->told_ms : NEVER;
        if (!old) {
            continue;
        }
        alert_group_leave(al);
        alert_group_join(a, al);
        if (al->told && told_ms > al->group->told_ms) {
            al->group->told_ms = told_ms;
        }
    }
}

/* ---- What is to be told ----------------------------------------------------------------- */

static int64_t cooled_ms(const struct alert *al)
{
    bool cooling = !al->told && al->told_ms != NEVER && al->cell;
    return cooling ? al->told_ms + (int64_t)al->cell->rule->cooldown_ms : NEVER;
}

static bool visible(const struct alerts *a, const struct alert *al)
{
    int64_t cooled = cooled_ms(al);
    return al->state == ALERTS_FIRING && !al->shadow && !al->silenced[0] && !al->inhibited &&
           (cooled == NEVER || a->now_ms >= cooled);
}

/* Whether a member that was not told is news of its group. */
static bool is_news(const struct alert_group *g, const struct alert *al)
{
    return !al->told && (!g->incident || g->told_ms == NEVER || al->severity > g->worst);
}

static void look(const struct alerts *a, const struct alert_group *g, struct outlook *o)
{
    bool lasts = false;
    *o = (struct outlook){.cooled_ms = NEVER};
    for (struct list *l = g->members.next; l != &g->members; l = l->next) {
        const struct alert *al = list_owner(l, struct alert, in_group);
        lasts = lasts || al->state == ALERTS_FIRING;
        if (visible(a, al)) {
            o->firing++;
            o->fresh += is_news(g, al);
            o->unacknowledged += al->told && !al->ack_who;
        } else if (al->state == ALERTS_FIRING) {
            int64_t cooled = cooled_ms(al);
            o->cooled_ms = cooled != NEVER && cooled > a->now_ms ? earlier(o->cooled_ms, cooled)
                                                                 : o->cooled_ms;
        } else {
            o->ended += al->told;
        }
    }
    if (g->incident && lasts) {
        o->ended = 0;
    }
}

/* When the group has something to say, by `o`; NEVER: nothing. */
static int64_t due(const struct alerts *a, const struct alert_group *g, const struct outlook *o,
                   bool *ret_repeat)
{
    *ret_repeat = !o->fresh && !o->ended;
    if (!*ret_repeat) {
        int64_t news = g->news_ms != NEVER ? g->news_ms : a->now_ms;
        if (g->told_ms == NEVER) {
            return news + (int64_t)a->group_wait_ms;
        }
        int64_t next = g->told_ms + (int64_t)a->group_interval_ms;
        return next > news ? next : news;
    }
    return o->unacknowledged && g->told_ms != NEVER && !g->incident
               ? g->told_ms + (int64_t)a->repeat_interval_ms
               : NEVER;
}

int64_t alert_told_next(const struct alerts *a, const struct alert *al, bool *ret_again)
{
    struct outlook o;
    *ret_again = false;
    if (!al->group) {
        return NEVER;
    }
    if (al->state == ALERTS_FIRING && !visible(a, al)) {
        return al->shadow || al->silenced[0] || al->inhibited ? NEVER : cooled_ms(al);
    }
    look(a, al->group, &o);
    return due(a, al->group, &o, ret_again);
}

/* ---- Telling ---------------------------------------------------------------------------- */

static bool escalates(const struct alerts *a, const struct alert *al)
{
    return al->told && !al->escalated && !al->ack_who && al->escalation.after_ms && visible(a, al);
}

/* Members of a group that go into one message. The caller owns the list. */
typedef bool chosen_fn(const struct alerts *a, const struct alert *al);

static bool is_told(const struct alerts *a, const struct alert *al)
{
    return visible(a, al) || (al->state == ALERTS_RESOLVED && al->told);
}

static bool is_escalated_end(const struct alerts *a, const struct alert *al)
{
    (void)a;
    return al->state == ALERTS_RESOLVED && al->told && al->escalated;
}

static bool is_due_to_escalate(const struct alerts *a, const struct alert *al)
{
    return escalates(a, al) && a->now_ms - al->told_ms >= (int64_t)al->escalation.after_ms;
}

static struct alert **members(const struct alerts *a, const struct alert_group *g,
                              chosen_fn *chosen, uint32_t *ret_count)
{
    uint32_t count = 0, at = 0;
    for (struct list *l = g->members.next; l != &g->members; l = l->next) {
        count++;
    }
    struct alert **list = mem_array(count + 1, sizeof *list);
    for (struct list *l = g->members.next; l != &g->members; l = l->next) {
        struct alert *al = list_owner(l, struct alert, in_group);
        if (chosen(a, al)) {
            list[at++] = al;
        }
    }
    *ret_count = at;
    return list;
}

/* Tells the second channels of chosen members: one message for those with the same channels. */
static void tell_second(struct alerts *a, struct alert_group *g, chosen_fn *chosen,
                        const char *reason)
{
    uint32_t count;
    struct alert **list = members(a, g, chosen, &count);
    for (uint32_t done = 0; done < count;) {
        const struct cJSON *channels = list[done]->escalation.channels;
        char *first = json_text(channels);
        uint32_t end = done + 1;
        for (uint32_t i = end; i < count; i++) {
            char *text = json_text(list[i]->escalation.channels);
            if (str_same(text, first)) {
                struct alert *other = list[end];
                list[end++] = list[i];
                list[i] = other;
            }
            mem_free(text);
        }
        mem_free(first);
        alert_message_send(a, g,
                           &(struct alert_message){reason, channels, list + done, end - done});
        for (; done < end; done++) {
            list[done]->escalated = true;
            list[done]->dirty = true;
        }
    }
    mem_free(list);
}

static void tell(struct alerts *a, struct alert_group *g, const char *reason)
{
    uint32_t count;
    struct alert **list = members(a, g, is_told, &count);
    alert_message_send(a, g, &(struct alert_message){reason, g->channels, list, count});
    tell_second(a, g, is_escalated_end, "resolved");
    for (uint32_t i = 0; i < count; i++) {
        struct alert *al = list[i];
        if (al->state == ALERTS_RESOLVED) {
            alert_put_away(a, al);
        } else if (!al->told) {
            al->told = al->dirty = true;
            al->told_ms = a->now_ms;
            g->worst = al->severity > g->worst ? al->severity : g->worst;
        }
    }
    mem_free(list);
    g->told_ms = a->now_ms;
    g->news_ms = NEVER;
    g->dirty = true;
}

/* The next moment at which the group may have something to do. */
static int64_t group_next(struct alerts *a, struct alert_group *g)
{
    struct outlook o;
    bool repeat;
    look(a, g, &o);
    int64_t next = earlier(due(a, g, &o, &repeat), o.cooled_ms);
    for (struct list *l = g->members.next; l != &g->members; l = l->next) {
        const struct alert *al = list_owner(l, struct alert, in_group);
        if (escalates(a, al)) {
            next = earlier(next, al->told_ms + (int64_t)al->escalation.after_ms);
        }
    }
    if (list_empty(&g->members) && g->told_ms != NEVER) {
        next = earlier(next, g->told_ms + (int64_t)a->group_interval_ms);
    }
    return next;
}

static void group_flush(struct alerts *a, struct alert_group *g)
{
    struct outlook o;
    bool repeat;
    look(a, g, &o);
    int64_t at = due(a, g, &o, &repeat);
    if (!repeat && g->news_ms == NEVER) {
        g->news_ms = a->now_ms;
    } else if (repeat) {
        g->news_ms = NEVER;
    }
    if (at != NEVER && a->now_ms >= at) {
        tell(a, g, repeat ? "repeat" : o.fresh ? "firing" : "resolved");
    }
    tell_second(a, g, is_due_to_escalate, "escalation");
}

void alert_groups_flush(struct alerts *a)
{
    int64_t next = INT64_MAX;
    for (struct list *l = a->groups.next, *after; l != &a->groups; l = after) {
        struct alert_group *g = list_owner(l, struct alert_group, link);
        after = l->next;
        group_flush(a, g);
        if (list_empty(&g->members) &&
            (g->told_ms == NEVER || a->now_ms - g->told_ms >= (int64_t)a->group_interval_ms)) {
            if (g->kept) {
                char *key = mem_printf("group:%s", g->id);
                alerts_batch(a);
                a->ports.remove(a->ports.arg, "alert_state", key);
                mem_free(key);
            }
            group_free(g);
            continue;
        }
        int64_t own = group_next(a, g);
        next = own != NEVER && own < next ? own : next;
    }
    a->due_ms = next;
}

void alert_groups_restore(struct alerts *a, const struct cJSON *doc)
{
    const char *key = json_str(doc, "key", NULL);
    const struct cJSON *told = json_get(doc, "told_wall_ms"), *channels = json_get(doc, "channels");
    if (!key || !told) {
        return;
    }
    struct alert_group *g = group_find(a, key);
    if (!g) {
        g = group_new(a, mem_copy(key), json_copy(json_get(doc, "labels")), channels);
        g->incident = json_bool(doc, "incident", false);
    }
    int64_t told_ms = a->now_ms - (int64_t)a->wall_ms + (int64_t)json_value_num(told, 0);
    g->told_ms = told_ms > g->told_ms ? told_ms : g->told_ms;
    g->serial = (uint64_t)json_num(doc, "serial", 0);
    g->worst = (enum alerts_severity)json_int(doc, "worst", 0) % ALERTS_SEVERITIES;
    g->kept = true;
}

void alert_groups_free(struct alerts *a)
{
    while (!list_empty(&a->groups)) {
        group_free(list_owner(a->groups.next, struct alert_group, link));
    }
}
