/* recent.c: see recent.h. Views are kept as text, which is a tenth of what they take parsed. */
#include "app/recent.h"

#include <stdbool.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    KEPT = 20,                   /* of a service */
    BYTES_MOST = 8 * 1000 * 1000 /* of all; they travel in one message */
};

struct views {
    char *text[KEPT]; /* a ring */
    size_t next;
};

/* Takes text. */
static void add(struct recent *r, const char *service, char *text)
{
    struct views *v = map_get(&r->services, service);
    bool full = r->bytes > BYTES_MOST;
    if (!v && full) {
        mem_free(text);
        return;
    }
    if (!v) {
        v = mem_new(sizeof *v);
        (void)map_put(&r->services, service, v);
    }
    if (!v->text[v->next] && full) {
        v->next = 0; /* from here on no more than it has */
    }
    r->bytes += strlen(text) - (v->text[v->next] ? strlen(v->text[v->next]) : 0);
    mem_free(v->text[v->next]);
    v->text[v->next] = text;
    v->next = (v->next + 1) % KEPT;
}

static void drop(struct recent *r, const char *service)
{
    struct views *v = map_remove(&r->services, service);
    for (size_t i = 0; v && i < KEPT; i++) {
        mem_free(v->text[i]);
    }
    mem_free(v);
}

void recent_note(struct recent *r, const struct cJSON *snapshot)
{
    const struct cJSON *view = json_first(json_get(snapshot, "services"));
    for (; view; view = json_next(view)) {
        add(r, json_name(view), json_text(view));
    }
}

void recent_note_question(struct recent *r, const char *text, size_t len)
{
    mem_free(r->question);
    r->question = mem_copy_bytes(text, len);
}

static struct cJSON *views_json(const struct views *v)
{
    struct cJSON *list = json_array();
    for (size_t i = 0; i < KEPT; i++) {
        const char *text = v->text[(v->next + i) % KEPT];
        if (text) {
            json_set(list, NULL, json_parse(text, strlen(text)));
        }
    }
    return list;
}

struct cJSON *recent_json(const struct recent *r)
{
    struct cJSON *out = json_object(), *services = json_object();
    const char *name;
    void *views;
    for (size_t at = 0; map_next(&r->services, &at, &name, &views);) {
        json_add(services, name, views_json(views));
    }
    json_set(out, "services", services);
    if (r->question) {
        json_set(out, "question", json_parse(r->question, strlen(r->question)));
    }
    return out;
}

void recent_take(struct recent *r, const struct cJSON *json, const struct cJSON *config)
{
    const struct cJSON *service = json_first(json_get(config, "services"));
    const struct cJSON *all = json_get(json, "services");
    for (; service; service = json_next(service)) {
        const char *name = json_str(service, "name", "");
        const struct cJSON *view = json_first(json_get(all, name));
        for (; view; view = json_next(view)) {
            add(r, name, json_text(view));
        }
    }
    if (json_get(json, "question")) {
        mem_free(r->question);
        r->question = json_text(json_get(json, "question"));
    }
}

void recent_free(struct recent *r)
{
    const char *name;
    void *views;
    for (size_t at = 0; map_next(&r->services, &at, &name, &views);) {
        drop(r, name);
    }
    map_free(&r->services);
    r->bytes = 0;
    mem_release(&r->question);
}
