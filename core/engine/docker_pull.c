/* docker_pull.c: fetches an image; see docker.h.
 *
 * The engine answers 200 as soon as there is progress, and tells a failure in the
 * last line. So success is: 200, no such line, and an image that is there (which
 * docker_create.c looks at). A stalled registry sends nothing, ever: 30 s of
 * silence end the pull, and the engine stops it when the connection goes. */
#include "engine/docker.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    SILENCE_MS = 30000,
    PROGRESS_EVERY_MS = 2000
};

struct pull {
    struct docker_op op;
    docker_pulled_fn *done;
    void *arg;
    char *image;
    int status;
    struct docker_lines lines;
    struct buf refusal;             /* body of another status than 200 */
    char error[LIMIT_REASON_BYTES]; /* of the line that tells a failure */
    uint64_t began_ms, logged_ms;
};

static void pull_fail(struct docker_op *op, const struct engine_error *error)
{
    struct pull *p = (struct pull *)op;
    docker_op_end(op);
    p->done(p->arg, error);
    docker_lines_free(&p->lines);
    buf_free(&p->refusal);
    mem_free(p->image);
    mem_free(p);
}

/* {"status":"Downloading","id":"a1b2","progressDetail":{"current":1,"total":2}} or
 * {"errorDetail":{"message":"..."},"error":"..."} */
static void on_line(void *arg, const char *line, size_t len)
{
    struct pull *p = arg;
    struct cJSON *json = json_parse(line, len);
    const char *error = json_str(json, "error", NULL);
    error = json_str(json_get(json, "errorDetail"), "message", error);
    if (error) {
        str_copy(p->error, sizeof p->error, error[0] ? error : "no reason given");
    }
    uint64_t now_ms = clock_now_ms();
    const char *status = json_str(json, "status", "");
    if (status[0] && now_ms - p->logged_ms >= PROGRESS_EVERY_MS) {
        const struct cJSON *detail = json_get(json, "progressDetail");
        p->logged_ms = now_ms;
        log_info("pulling image", "image=%s layer=%s status=%s bytes=%lld of=%lld", p->image,
                 json_str(json, "id", ""), status, (long long)json_int(detail, "current", 0),
                 (long long)json_int(detail, "total", 0));
    }
    json_free(json);
}

static void on_head(void *arg, int status)
{
    struct pull *p = arg;
    p->status = status;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct pull *p = arg;
    if (p->status == 200) {
        docker_lines_feed(&p->lines, bytes, len, on_line, p);
    } else {
        buf_append(&p->refusal, bytes, len); /* what does not fit is of no use */
    }
}

static void fail_as(struct pull *p, const struct docker_fault *fault)
{
    docker_op_fail(&p->op, fault->code, "pull of %.120s: %.380s", p->image, fault->text);
}

static void pulled(struct docker_op *op, const struct net_answer *answer)
{
    struct pull *p = (struct pull *)op;
    struct docker_fault fault;
    if (answer->error == -ETIMEDOUT) {
        docker_op_fail(op, -ETIMEDOUT, "pull of %.120s: the registry is silent for %d s", p->image,
                       SILENCE_MS / 1000);
    } else if (answer->error) {
        docker_fault_of(answer, &fault);
        fail_as(p, &fault);
    } else if (p->status != 200) {
        docker_fault_of_body(p->status, buf_str(&p->refusal), p->refusal.len, &fault);
        fail_as(p, &fault);
    } else {
        docker_lines_end(&p->lines, on_line, p);
        if (p->error[0]) {
            docker_fault_of_body(500, p->error, strlen(p->error), &fault);
            fail_as(p, &fault);
            return;
        }
        log_info("pulled image", "image=%s took_ms=%llu", p->image,
                 (unsigned long long)(clock_now_ms() - p->began_ms));
        struct engine_error none = {.code = 0, .text = ""};
        pull_fail(op, &none);
    }
}

void docker_pull(struct docker *d, const char *image, docker_pulled_fn *done, void *arg)
{
    struct pull *p = mem_new(sizeof *p);
    *p = (struct pull){.done = done, .arg = arg, .image = mem_copy(image)};
    p->began_ms = p->logged_ms = clock_now_ms();
    docker_lines_init(&p->lines);
    buf_init(&p->refusal, LIMIT_HEALTH_BODY_BYTES);
    log_info("image is missing or to be renewed, pulling it", "image=%s", image);
    /* Without a tag the engine would fetch all of them. */
    const char *last = strrchr(image, '/');
    bool tagged = strchr(last ? last : image, ':') || strchr(image, '@');
    char *path = docker_path("/images/create?fromImage=", image, tagged ? "" : "&tag=latest");
    struct docker_request request = {.method = "POST",
                                     .path = path,
                                     .header = "X-Registry-Auth: e30=", /* {} */
                                     .silence_ms = SILENCE_MS,
                                     .on_head = on_head,
                                     .on_data = on_data};
    docker_op_begin(d, &p->op, pull_fail);
    docker_op_call(&p->op, &request, pulled);
    mem_free(path);
}
