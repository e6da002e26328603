/* policy.c: the policy process. It holds no engine socket and no network; the master may kill it
 * at any time and start it again with the configuration that is in force.
 *
 *   LOAD      reads the files once, answers CONFIG or NACK (the candidate of a reload)
 *   CONFIG    takes a configuration as it stands (after a crash): nothing is read, answers READY
 *   SNAPSHOT  answers DECISIONS; EVALUATE answers EVALUATED; NOTIFY answers NOTIFIED */
#include "app/children.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "app/child.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/ipc.h"
#include "script/script.h"

struct policy {
    uv_loop_t loop;
    struct ipc *channel;
    struct script_cold *cold;
};

static void refuse(struct policy *p, uint32_t generation, const char *of, const char *error)
{
    struct cJSON *nack = json_object();
    json_set_str(nack, "of", of);
    json_set_str(nack, "error", error);
    char *text = json_text(nack);
    (void)ipc_send_text(p->channel, IPC_NACK, generation, text);
    mem_free(text);
    json_free(nack);
}

/* Builds the deciding state beside the old one. */
static int adopt(struct policy *p, const struct cJSON *config, char **reterr)
{
    struct script_cold *cold = NULL;
    int rc = script_cold_new(config, &cold, reterr);
    if (!rc) {
        script_cold_free(p->cold);
        p->cold = cold;
    }
    return rc;
}

static void on_load(struct policy *p, const struct ipc_message *m)
{
    struct cJSON *args = json_parse(m->data, m->len);
    struct cJSON *config = NULL;
    char *error = NULL, *warnings = NULL;
    int rc = script_load(json_str(args, "path", ""), json_get(args, "overrides"), &config,
                         &warnings, &error);
    if (!rc) {
        rc = adopt(p, config, &error);
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
    char *error = NULL;
    if (adopt(p, config, &error)) {
        refuse(p, m->generation, "config", error ? error : "could not be built");
    }
    mem_free(error);
    json_free(config);
}

typedef struct cJSON *answer_fn(struct script_cold *cold, const struct cJSON *question);

static void answer(struct policy *p, const struct ipc_message *m, answer_fn *fn, enum ipc_type type)
{
    if (!p->cold) {
        return;
    }
    struct cJSON *question = json_parse(m->data, m->len);
    struct cJSON *said = fn(p->cold, question);
    char *text = json_text(said);
    (void)ipc_send_text(p->channel, type, m->generation, text);
    mem_free(text);
    json_free(said);
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
        answer(p, m, script_cold_decide, IPC_DECISIONS);
    } else if (m->type == IPC_EVALUATE) {
        answer(p, m, script_cold_evaluate, IPC_EVALUATED);
    } else if (m->type == IPC_NOTIFY) {
        answer(p, m, script_cold_notify, IPC_NOTIFIED);
    }
}

static void on_closed(void *arg, int error)
{
    struct policy *p = arg;
    (void)error; /* without a master there is nothing to decide */
    ipc_close(p->channel);
    p->channel = NULL;
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
    if (ipc_open(&p.loop, CHILD_CHANNEL_FD, on_message, on_closed, &p, &p.channel)) {
        log_error("no channel to the master", "");
        return 1;
    }
    (void)ipc_send_text(p.channel, IPC_READY, 0, "{}");
    uv_run(&p.loop, UV_RUN_DEFAULT);
    script_cold_free(p.cold);
    return uv_loop_close(&p.loop) ? 1 : 0;
}
