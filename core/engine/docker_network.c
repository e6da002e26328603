/* docker_network.c: the network that instances join; see docker.h.
 *
 * A configured one must exist. Otherwise it is the cluster's own,
 * "tidegate-<cluster>", known by name *and* label, made when missing, and used by
 * id. The engine can get two of one name (a create that a killed tidegate had sent, and ours beside it),
 * and then starts no container in either: the one that is not in use is removed.
 * Invariants: at most one look-up is under way, so that two creates never make
 * two networks; whoever asks meanwhile waits for its end. */
#include "engine/docker.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    CALL_TIMEOUT_MS = 20000,
    REMOVALS_MOST = 8
};

struct waiter {
    docker_network_fn *done;
    void *arg;
};

struct docker_network {
    struct docker_op op;
    char *name;
    bool made; /* tried to make it; the second look-up must find it */
    unsigned removals;
    char extra[ENGINE_ID_BYTES];  /* being removed */
    char in_use[ENGINE_ID_BYTES]; /* could not be removed */
    struct waiter *waiters;
    size_t count;
};

/* Nobody finds it any more: who asks from inside a callback starts anew. */
static void network_end(struct docker_op *op, const struct engine_error *error)
{
    struct docker_network *n = (struct docker_network *)op;
    op->docker->finding_network = NULL;
    docker_op_end(op);
    for (size_t i = 0; i < n->count; i++) {
        n->waiters[i].done(n->waiters[i].arg, error);
    }
    mem_free(n->waiters);
    mem_free(n->name);
    mem_free(n);
}

static void look_up(struct docker_network *n);

static void found(struct docker_network *n, const char *id)
{
    struct engine_error none = {.code = 0, .text = ""};
    str_copy(n->op.docker->network_id, sizeof n->op.docker->network_id, id);
    network_end(&n->op, &none);
}

static void created(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_network *n = (struct docker_network *)op;
    if (docker_answer_ok(answer)) {
        log_info("made the network of the cluster", "network=%s", n->name);
    } else if (answer->error || answer->status != 409) { /* 409: somebody else was faster */
        docker_op_refused(op, answer);
        return;
    }
    look_up(n);
}

static void make(struct docker_network *n)
{
    struct docker *d = n->op.docker;
    struct cJSON *body = json_object(), *labels = json_object();
    n->made = true;
    json_set_str(body, "Name", n->name);
    json_set_bool(body, "CheckDuplicate", true); /* not the default before API 1.44 */
    json_set_str(body, "Driver", "bridge");
    json_set(body, "Labels", labels);
    json_set_str(labels, "tidegate.managed", "1");
    json_set_str(labels, "tidegate.cluster", d->settings.cluster);
    struct docker_request request = {
        .method = "POST", .path = "/networks/create", .body = body, .timeout_ms = CALL_TIMEOUT_MS};
    docker_op_call(&n->op, &request, created);
    json_free(body);
}

static void removed(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_network *n = (struct docker_network *)op;
    if (answer->error) {
        docker_op_refused(op, answer);
        return;
    }
    if (docker_answer_ok(answer)) {
        log_warn("removed a second network of the cluster", "network=%s", n->name);
    } else {
        str_copy(n->in_use, sizeof n->in_use, n->extra);
    }
    look_up(n);
}

/* One of several; the next look-up decides on the others. */
static void remove_extra(struct docker_network *n, const char *id)
{
    char *path = docker_path("/networks/", id, "");
    struct docker_request request = {
        .method = "DELETE", .path = path, .timeout_ms = CALL_TIMEOUT_MS};
    str_copy(n->extra, sizeof n->extra, id);
    n->removals++;
    docker_op_call(&n->op, &request, removed);
    mem_free(path);
}

static void looked_up(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_network *n = (struct docker_network *)op;
    struct docker *d = op->docker;
    if (!docker_answer_ok(answer)) {
        docker_op_refused(op, answer);
        return;
    }
    struct cJSON *list = json_parse(answer->body, answer->body_len);
    const char *id = "", *extra = "";
    bool foreign = false;
    for (const struct cJSON *one = json_first(list); one; one = json_next(one)) {
        const char *its = json_str(one, "Id", "");
        /* The filter by name matches parts of names, too. */
        if (!str_same(json_str(one, "Name", ""), n->name) || strlen(its) >= ENGINE_ID_BYTES) {
            continue;
        }
        if (d->settings.network || docker_labels_ours(d, json_get(one, "Labels"))) {
            /* Of several the smallest id, so that all ask for the same; but one in use is kept. */
            bool better = !id[0] || str_same(its, n->in_use) ||
                          (strcmp(its, id) < 0 && !str_same(id, n->in_use));
            extra = id[0] && better ? id : better ? extra : its;
            id = better ? its : id;
        } else {
            foreign = true;
        }
    }
    if (extra[0] && !d->settings.network && n->removals < REMOVALS_MOST) {
        remove_extra(n, extra);
    } else if (id[0]) {
        found(n, id);
    } else if (d->settings.network) {
        docker_op_fail(op, -EINVAL, "network missing: docker.network \"%.100s\" does not exist",
                       n->name);
    } else if (foreign) {
        docker_op_fail(op, -EINVAL, "network taken: \"%.100s\" exists and is not of this cluster",
                       n->name);
    } else if (n->made) {
        docker_op_fail(op, -EAGAIN, "network \"%.100s\" was made and cannot be found", n->name);
    } else {
        make(n);
    }
    json_free(list);
}

static void look_up(struct docker_network *n)
{
    char *filters = mem_printf("{\"name\":[\"%s\"]}", n->name);
    char *path = docker_path("/networks?filters=", filters, "");
    struct docker_request request = {.path = path, .timeout_ms = CALL_TIMEOUT_MS};
    docker_op_call(&n->op, &request, looked_up);
    mem_free(path);
    mem_free(filters);
}

void docker_network_find(struct docker *d, docker_network_fn *done, void *arg)
{
    if (d->network_id[0]) {
        struct engine_error none = {.code = 0, .text = ""};
        done(arg, &none);
        return;
    }
    struct docker_network *n = d->finding_network;
    if (!n) {
        n = mem_new(sizeof *n);
        n->name = d->settings.network ? mem_copy(d->settings.network)
                                      : mem_printf("tidegate-%s", d->settings.cluster);
        docker_op_begin(d, &n->op, network_end);
        d->finding_network = n;
        look_up(n);
    }
    n->waiters = mem_resize(n->waiters, (n->count + 1) * sizeof *n->waiters);
    n->waiters[n->count++] = (struct waiter){.done = done, .arg = arg};
}
