/* policy.c: the policy process. It holds no engine socket and no network; the master may kill it
 * at any time and start it again with the configuration that is in force.
 *
 *   LOAD      reads the files once, answers CONFIG or NACK (the candidate of a reload)
 *   LEARNED   what detectors learned and policies kept, in portions, for the CONFIG that follows; or it is asked for
 *   CONFIG    takes a configuration as it stands: nothing is read, answers ACK or NACK
 *   SNAPSHOT  answers DECISIONS; EVALUATE answers EVALUATED; NOTIFY answers NOTIFIED
 *   QUARANTINE  a policy that is not to be asked any more */
#include "app/children.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "app/child.h"
#include "app/recent.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/ipc.h"
#include "script/script.h"

enum {
    PORTION = 1000,   /* series in one message: 1.5 MB at most */
    KEPT_PORTION = 20 /* states of policies, 128 KB at most each */
};

/* Telling the master what was learned: a portion a round of the loop, so that questions are answered in between. */
struct saving {
    uv_idle_t rounds;
    size_t anomalies, kept; /* how far it has come, of each */
    bool anomalies_told;
    bool recent; /* the last views are asked for, too */
    uint32_t generation;
};

struct policy {
    uv_loop_t loop;
    struct ipc *channel;
    struct script_cold *cold;
    struct script_anomaly *anomaly;
    struct cJSON *learned; /* for the next CONFIG, or NULL */
    struct recent recent;
    struct saving saving;
};

/* Takes the message. */
static void say(struct policy *p, enum ipc_type type, uint32_t generation, struct cJSON *message)
{
    char *text = json_text(message);
    (void)ipc_send_text(p->channel, type, generation, text);
    mem_free(text);
    json_free(message);
}

static void refuse(struct policy *p, uint32_t generation, const char *of, const char *error)
{
    struct cJSON *nack = json_object();
    json_set_str(nack, "of", of);
    json_set_str(nack, "error", error);
    say(p, IPC_NACK, generation, nack);
}

/* Builds the deciding states beside the old ones; `learned` may be NULL. */
static int adopt(struct policy *p, const struct cJSON *config, const struct cJSON *learned,
                 char **reterr)
{
    struct script_cold *cold = NULL;
    struct script_anomaly *anomaly = NULL;
    int rc = script_cold_go_on(config, learned, &cold, reterr);
    rc = rc ? rc : script_anomaly_new(config, &anomaly, reterr);
    if (rc) {
        script_cold_free(cold);
        return rc;
    }
    script_anomaly_restore(anomaly, learned);
    script_cold_free(p->cold);
    script_anomaly_free(p->anomaly);
    p->cold = cold;
    p->anomaly = anomaly;
    return 0;
}

static void on_load(struct policy *p, const struct ipc_message *m)
{
    struct cJSON *args = json_parse(m->data, m->len);
    struct cJSON *config = NULL;
    char *error = NULL, *warnings = NULL;
    int rc = script_load_labelled(json_str(args, "path", ""), json_get(args, "overrides"),
                                  json_get(args, "labelled"), &config, &warnings, &error);
    if (!rc) {
        rc = adopt(p, config, NULL, &error);
    }
    if (rc) {
        refuse(p, m->generation, "load", error ? error : "could not be loaded");
    } else {
        if (warnings && *warnings) {
            json_set_str(config, "warnings", warnings);
        }
        char *text = json_text(config);
        (void)ipc_send_text(p->channel, IPC_CONFIG, m->generation, text);
        mem_free(text);
    }
    mem_free(error);
    mem_free(warnings);
    json_free(config);
    json_free(args);
}

static void on_config(struct policy *p, const struct ipc_message *m)
{
    struct cJSON *config = json_parse(m->data, m->len);
    bool must_go_on = json_bool(p->learned, "strict", false);
    char *error = NULL;
    int rc = adopt(p, config, json_get(p->learned, "series"), &error);
    if (rc && !must_go_on) {
        /* A state that does not fit may not keep what is in force from being decided. */
        log_error("what policies kept cannot be taken up: they begin anew", "error=%s",
                  error ? error : "");
        mem_release(&error);
        rc = adopt(p, config, NULL, &error);
    }
    if (rc) {
        refuse(p, m->generation, "config", error ? error : "could not be built");
    } else {
        struct cJSON *ack = json_object();
        json_set_str(ack, "of", "config");
        if (json_get(p->learned, "before")) {
            json_set(ack, "diff",
                     script_compare(json_get(p->learned, "before"), config,
                                    json_get(p->learned, "series"),
                                    json_get(p->learned, "recent")));
        }
        recent_take(&p->recent, json_get(p->learned, "recent"), config);
        say(p, IPC_ACK, m->generation, ack);
    }
    json_free(p->learned);
    p->learned = NULL;
    mem_free(error);
    json_free(config);
}

static struct cJSON *decide(struct policy *p, const struct cJSON *question)
{
    recent_note(&p->recent, question);
    return script_cold_decide(p->cold, question);
}

/* Alerts in Lua and anomalies, of one moment's views. */
static struct cJSON *evaluate(struct policy *p, const struct cJSON *question)
{
    struct cJSON *said = script_cold_evaluate(p->cold, question);
    struct cJSON *unusual = script_anomaly_feed(p->anomaly, question);
    json_set(said, "anomalies", json_copy(json_get(unusual, "anomalies")));
    json_set(said, "errors", json_copy(json_get(unusual, "errors")));
    json_free(unusual);
    return said;
}

static struct cJSON *notify(struct policy *p, const struct cJSON *question)
{
    return script_cold_notify(p->cold, question);
}

/* Takes series; NULL: it was the last. */
static void tell_portion(struct policy *p, uint32_t generation, struct cJSON *series, bool recent)
{
    struct cJSON *portion = json_object();
    json_set_bool(portion, "last", !series);
    json_set(portion, "series", series ? series : json_object());
    if (recent) {
        json_set(portion, "recent", recent_json(&p->recent));
    }
    say(p, IPC_LEARNED, generation, portion);
}

static void on_round(uv_idle_t *rounds)
{
    struct policy *p = rounds->data;
    struct saving *s = &p->saving;
    struct cJSON *series = NULL;
    if (!s->anomalies_told) {
        series = script_anomaly_save(p->anomaly, &s->anomalies, PORTION);
        s->anomalies_told = !series;
    }
    if (!series) {
        series = script_cold_save(p->cold, &s->kept, KEPT_PORTION);
    }
    if (!series) {
        uv_idle_stop(rounds);
    }
    tell_portion(p, s->generation, series, !series && s->recent);
}

/* From the beginning, when one is under way. */
static void tell_learned(struct policy *p, uint32_t generation, bool recent)
{
    struct saving *s = &p->saving;
    s->anomalies = s->kept = 0;
    s->anomalies_told = false;
    s->recent = recent || (s->recent && uv_is_active((uv_handle_t *)&s->rounds));
    s->generation = generation;
    uv_idle_start(&s->rounds, on_round);
}

/* Beside the series, in one of the portions. */
static const char *const ONCE[] = {"before", "recent", NULL};

/* What was learned goes to the master, which keeps it, and comes from there before a CONFIG. */
static void on_learned(struct policy *p, const struct ipc_message *m)
{
    struct cJSON *said = json_parse(m->data, m->len);
    struct cJSON *one = json_first(json_get(said, "series"));
    if (json_get(said, "series") && !p->learned) {
        p->learned = said;
        return;
    }
    for (; one; one = json_next(one)) {
        json_add(json_get(p->learned, "series"), json_name(one), json_copy(one));
    }
    for (const char *const *key = ONCE; *key && p->learned; key++) {
        if (json_get(said, *key)) {
            json_set(p->learned, *key, json_copy(json_get(said, *key)));
        }
    }
    if (!json_get(said, "series") && p->anomaly) {
        tell_learned(p, m->generation, json_bool(said, "recent", false));
    }
    json_free(said);
}

static void on_quarantine(struct policy *p, const struct ipc_message *m)
{
    struct cJSON *said = json_parse(m->data, m->len);
    if (p->cold) {
        script_cold_quarantine(p->cold, said);
        script_anomaly_quarantine(p->anomaly, said);
    }
    json_free(said);
}

typedef struct cJSON *answer_fn(struct policy *p, const struct cJSON *question);

static void answer(struct policy *p, const struct ipc_message *m, answer_fn *fn, enum ipc_type type)
{
    if (!p->cold) {
        return;
    }
    struct cJSON *question = json_parse(m->data, m->len);
    say(p, type, m->generation, fn(p, question));
    json_free(question);
}

static void on_message(void *arg, const struct ipc_message *m)
{
    struct policy *p = arg;
    if (m->type == IPC_LOAD) {
        on_load(p, m);
    } else if (m->type == IPC_CONFIG) {
        on_config(p, m);
    } else if (m->type == IPC_SNAPSHOT) {
        answer(p, m, decide, IPC_DECISIONS);
    } else if (m->type == IPC_EVALUATE) {
        recent_note_question(&p->recent, m->data, m->len);
        answer(p, m, evaluate, IPC_EVALUATED);
    } else if (m->type == IPC_NOTIFY) {
        answer(p, m, notify, IPC_NOTIFIED);
    } else if (m->type == IPC_LEARNED) {
        on_learned(p, m);
    } else if (m->type == IPC_QUARANTINE) {
        on_quarantine(p, m);
    }
}

static void on_closed(void *arg, int error)
{
    struct policy *p = arg;
    (void)error; /* without a master there is nothing to decide */
    ipc_close(p->channel);
    p->channel = NULL;
    uv_close((uv_handle_t *)&p->saving.rounds, NULL);
}

int policy_main(int argc, char **argv)
{
    struct policy p = {0};
    child_close_from(CHILD_CHANNEL_FD + 1);
    child_open_log("policy", argc, argv);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&p.loop);
    uv_idle_init(&p.loop, &p.saving.rounds);
    p.saving.rounds.data = &p;
    if (ipc_open(&p.loop, CHILD_CHANNEL_FD, on_message, on_closed, &p, &p.channel)) {
        log_error("no channel to the master", "");
        return 1;
    }
    (void)ipc_send_text(p.channel, IPC_READY, 0, "{}");
    uv_run(&p.loop, UV_RUN_DEFAULT);
    script_cold_free(p.cold);
    script_anomaly_free(p.anomaly);
    json_free(p.learned);
    recent_free(&p.recent);
    return uv_loop_close(&p.loop) ? 1 : 0;
}
