/* docker_create.c: makes a container; see engine.h.
 *
 *   image there? --404--> pull --> image there? --> network --> create
 *
 * A name that is taken is looked at: ours is -EEXIST (the caller compares and
 * adopts or removes), another's is -EACCES and never touched. */
#include "engine/docker.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    IMAGE_TIMEOUT_MS = 5000,
    CREATE_TIMEOUT_MS = 20000
};

struct create {
    struct docker_op op;
    engine_created_fn *done;
    void *arg;
    char *name, *image, *service;
    char *refusal; /* why there is no body, or NULL */
    enum {
        PULL_MISSING,
        PULL_ALWAYS,
        PULL_NEVER
    } pull;
    bool pulled;
    struct cJSON *body; /* without its network */
};

static void create_end(struct create *c, const struct engine_error *error, const char *id)
{
    docker_op_end(&c->op);
    c->done(c->arg, error, id);
    json_free(c->body);
    mem_free(c->name);
    mem_free(c->image);
    mem_free(c->service);
    mem_free(c->refusal);
    mem_free(c);
}

static void create_fail(struct docker_op *op, const struct engine_error *error)
{
    create_end((struct create *)op, error, "");
}

/* ---- The container ---- */

static void name_looked_at(struct docker_op *op, const struct net_answer *answer)
{
    struct create *c = (struct create *)op;
    if (!docker_answer_ok(answer)) {
        if (!answer->error && answer->status == 404) { /* on its way out */
            docker_op_fail(op, -EAGAIN, "name taken: %.100s is just being removed", c->name);
        } else {
            docker_op_refused(op, answer);
        }
        return;
    }
    struct cJSON *json = json_parse(answer->body, answer->body_len);
    if (docker_labels_ours(op->docker, json_path(json, "Config.Labels"))) {
        docker_op_fail(op, -EEXIST, "name taken: %.100s exists already", c->name);
    } else {
        docker_op_fail(op, -EACCES,
                       "name taken: %.100s is a container that is not of this cluster (%.12s): "
                       "rename or remove it",
                       c->name, json_str(json, "Id", "?"));
    }
    json_free(json);
}

static void look_at_name(struct create *c)
{
    char *path = docker_path("/containers/", c->name, "/json");
    struct docker_request request = {.path = path, .timeout_ms = IMAGE_TIMEOUT_MS};
    docker_op_call(&c->op, &request, name_looked_at);
    mem_free(path);
}

static void created(struct docker_op *op, const struct net_answer *answer)
{
    struct create *c = (struct create *)op;
    if (docker_answer_ok(answer)) {
        struct engine_error none = {.code = 0, .text = ""};
        struct cJSON *json = json_parse(answer->body, answer->body_len);
        const char *id = json_str(json, "Id", "");
        bool sound = id[0] && strlen(id) < ENGINE_ID_BYTES;
        if (sound) {
            create_end(c, &none, id);
        } else { /* it may exist; who asks again is told so */
            docker_op_fail(op, -ETIMEDOUT, "create: the engine's answer makes no sense");
        }
        json_free(json);
        return;
    }
    struct docker_fault fault;
    docker_fault_of(answer, &fault);
    if (fault.code == -EEXIST) {
        look_at_name(c);
    } else {
        docker_op_refused(op, answer);
    }
}

static void on_network(void *arg, const struct engine_error *error)
{
    struct create *c = arg;
    if (error->code) {
        create_fail(&c->op, error);
        return;
    }
    docker_body_join(c->op.docker, c->body, c->service);
    char *path = docker_path("/containers/create?name=", c->name, "");
    struct docker_request request = {
        .method = "POST", .path = path, .body = c->body, .timeout_ms = CREATE_TIMEOUT_MS};
    docker_op_call(&c->op, &request, created);
    mem_free(path);
}

/* ---- The image ---- */

static void look_at_image(struct create *c);

static void on_pulled(void *arg, const struct engine_error *error)
{
    struct create *c = arg;
    if (error->code) {
        create_fail(&c->op, error);
        return;
    }
    c->pulled = true;
    look_at_image(c);
}

static void image_looked_at(struct docker_op *op, const struct net_answer *answer)
{
    struct create *c = (struct create *)op;
    if (docker_answer_ok(answer)) {
        docker_network_find(op->docker, on_network, c);
    } else if (answer->error || answer->status != 404) {
        docker_op_refused(op, answer);
    } else if (c->pulled) {
        docker_op_fail(op, -ENOENT, "image not found: %.200s, though its pull went well", c->image);
    } else if (c->pull == PULL_NEVER) {
        docker_op_fail(op, -ENOENT, "image not found: %.200s, and pull is \"never\"", c->image);
    } else {
        docker_pull(op->docker, c->image, on_pulled, c);
    }
}

static void look_at_image(struct create *c)
{
    char *path = docker_path("/images/", c->image, "/json");
    struct docker_request request = {.path = path, .timeout_ms = IMAGE_TIMEOUT_MS};
    docker_op_call(&c->op, &request, image_looked_at);
    mem_free(path);
}

/* ---- Public ---- */

static void refuse(struct docker_op *op, const struct net_answer *answer)
{
    struct create *c = (struct create *)op;
    (void)answer;
    docker_op_fail(op, -EINVAL, "%s", c->refusal);
}

int docker_create(struct engine *e, const struct engine_spec *spec, engine_created_fn *done,
                  void *arg)
{
    struct docker *d = (struct docker *)e;
    struct create *c = mem_new(sizeof *c);
    *c = (struct create){.done = done, .arg = arg, .name = mem_copy(spec->name)};
    docker_op_begin(d, &c->op, create_fail);
    c->service = mem_copy(spec->service);
    if (docker_body_create(d, spec, &c->body, &c->refusal)) {
        docker_op_later(&c->op, -EINVAL, refuse);
        return 0;
    }
    c->image = mem_copy(json_str(spec->service_config, "image", ""));
    const char *pull = json_str(spec->service_config, "pull", "missing");
    c->pull = str_same(pull, "always")  ? PULL_ALWAYS
              : str_same(pull, "never") ? PULL_NEVER
                                        : PULL_MISSING;
    if (c->pull == PULL_ALWAYS) {
        docker_pull(d, c->image, on_pulled, c);
    } else {
        look_at_image(c);
    }
    return 0;
}
