/* docker_errors.c: what a failed answer of the engine means; see docker.h.
 *
 * Neither the status nor the message is enough alone: "port taken", "disk full"
 * and malformed JSON are all 500, an unknown network at start is 404 like an
 * unknown container, and Podman says 500 where Docker says 409. So a table of
 * known fragments comes first, then the status. Bodies may be anything. */
#include "engine/docker.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* First match wins. `also` may be NULL. `meaning` is what the operator reads before the message. */
static const struct {
    const char *fragment, *also;
    int code;
    const char *meaning;
} fragments[] = {
    {"port is already allocated", NULL, -EADDRINUSE, "port taken"},
    {"ports are already allocated", NULL, -EADDRINUSE, "port taken"},
    {"ports are allocated", NULL, -EADDRINUSE, "ports taken"},
    {"address already in use", NULL, -EADDRINUSE, "port taken"},
    {"no space left on device", NULL, -ENOSPC, "disk full"},
    {"client version", "too new", -EPROTO, "API version refused"},
    {"client version", "too old", -EPROTO, "API version refused"},
    {"bind source path does not exist", NULL, -EINVAL, "volume missing"},
    {"invalid mount config", NULL, -EINVAL, "volume refused"},
    {"invalid volume specification", NULL, -EINVAL, "volume refused"},
    {"invalid reference format", NULL, -EINVAL, "image name refused"},
    {"container-init binary not found", NULL, -EINVAL,
     "Podman's init is missing: install catatonit"},
    {"setrlimit", NULL, -EINVAL,
     "the host cannot give the container its limits (set resources.files, or default_ulimits in "
     "containers.conf)"},
    {"setting rlimit", NULL, -EINVAL,
     "the host cannot give the container its limits (set resources.files, or default_ulimits in "
     "containers.conf)"},
    {"executable file not found", NULL, -EINVAL, "command not found in the image"},
    {"No command specified", NULL, -EINVAL, "the image has no command"},
    {"no command specified", NULL, -EINVAL, "the image has no command"},
    {"exec: ", "no such file or directory", -EINVAL, "command not found in the image"},
    {"exec: ", "permission denied", -EINVAL, "command cannot be executed"},
    {"network ", " not found", -EINVAL, "network missing"},
    {"network ", " is ambiguous", -EINVAL, "network ambiguous"},
    {"unable to find network", NULL, -EINVAL, "network missing"},
    {"is already in use", "name", -EEXIST, "name taken"},
    {"unauthorized", NULL, -EACCES, "registry refused"},
    {"authentication required", NULL, -EACCES, "registry refused"},
    {"no basic auth credentials", NULL, -EACCES, "registry refused"},
    {"access denied", NULL, -EACCES, "registry refused"},
    {"access to the resource is denied", NULL, -EACCES, "registry refused"},
    {"manifest unknown", NULL, -ENOENT, "image not found"},
    {"manifest for ", " not found", -ENOENT, "image not found"},
    {"repository ", " not found", -ENOENT, "image not found"},
    {"repository name not known", NULL, -ENOENT, "image not found"},
    {"No such image", NULL, -ENOENT, "image not found"},
    {"no such image", NULL, -ENOENT, "image not found"},
    {"image not known", NULL, -ENOENT, "image not found"},
    {"No such container", NULL, -ENOENT, "no such container"},
    {"no such container", NULL, -ENOENT, "no such container"},
    {"configured logging driver does not support reading", NULL, -EINVAL, "no logs"},
};

bool docker_answer_ok(const struct net_answer *answer)
{
    return !answer->error &&
           ((answer->status >= 200 && answer->status < 300) || answer->status == 304);
}

static void put(struct docker_fault *f, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void put(struct docker_fault *f, int code, const char *format, ...)
{
    f->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
}

static int code_of_status(int status)
{
    if (status == 404) {
        return -ENOENT;
    }
    if (status == 401 || status == 403) {
        return -EACCES;
    }
    if (status >= 400 && status < 500 && status != 409 && status != 429 && status != 408) {
        return -EINVAL;
    }
    return -EAGAIN; /* 409: in the wrong state at this moment */
}

/* One printable line out of whatever the body is. */
static void printable(const char *body, size_t len, char *to, size_t size)
{
    size_t used = 0;
    bool blank = true; /* leading and repeated ones go */
    for (size_t i = 0; i < len && used + 1 < size; i++) {
        unsigned char c = (unsigned char)body[i];
        if (c >= ' ' && c != 0x7f && !isspace(c)) {
            to[used++] = c < 0x80 ? (char)c : '?';
            blank = false;
        } else if (!blank) {
            to[used++] = ' ';
            blank = true;
        }
    }
    while (used && to[used - 1] == ' ') {
        used--;
    }
    to[used] = '\0';
}

void docker_fault_of_body(int status, const char *body, size_t len, struct docker_fault *f)
{
    char message[LIMIT_REASON_BYTES - 160]; /* room for the meaning before it */
    struct cJSON *json = json_parse(body, len);
    const char *text = json_str(json, "message", NULL);
    if (text) {
        printable(text, strlen(text), message, sizeof message);
    } else {
        printable(body, len, message, sizeof message);
    }
    json_free(json);
    for (size_t i = 0; i < sizeof fragments / sizeof *fragments; i++) {
        if (strstr(message, fragments[i].fragment) &&
            (!fragments[i].also || strstr(message, fragments[i].also))) {
            put(f, fragments[i].code, "%s: %s", fragments[i].meaning, message);
            return;
        }
    }
    if (message[0]) {
        put(f, code_of_status(status), "%s", message);
    } else {
        put(f, code_of_status(status), "the engine answered %d without a reason", status);
    }
}

void docker_fault_of(const struct net_answer *answer, struct docker_fault *f)
{
    const char *why = answer->error_text ? answer->error_text : "";
    switch (answer->error) { /* errno codes, not an enum */
    case 0:
        if (docker_answer_ok(answer)) {
            put(f, -EAGAIN, "the engine's answer makes no sense");
        } else {
            docker_fault_of_body(answer->status, answer->body, answer->body_len, f);
        }
        return;
    case -ETIMEDOUT:
        put(f, -ETIMEDOUT, "the engine did not answer in time: %s", why);
        return;
    case -EPIPE:
        put(f, -ETIMEDOUT, "the engine broke off: %s", why);
        return;
    case -ECONNREFUSED:
    case -ENOENT:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -ECONNRESET:
        put(f, -ECONNREFUSED, "the engine is not reachable: %s", why);
        return;
    case -EACCES:
    case -EPERM:
        put(f, -EACCES, "no access to the engine: %s", why);
        return;
    case -ECANCELED:
        put(f, -ECANCELED, "cancelled");
        return;
    case -EMSGSIZE:
        put(f, -EAGAIN, "the engine's answer is too large: %s", why);
        return;
    default:
        put(f, -EAGAIN, "%s: %s", err_text(answer->error), why);
    }
}

void docker_op_refused(struct docker_op *op, const struct net_answer *answer)
{
    struct docker *d = op->docker;
    struct docker_fault fault;
    docker_fault_of(answer, &fault);
    if (fault.code == -EPROTO) {
        fault.code = -EAGAIN;
        docker_link_lost(d, fault.text);
    }
    if (str_starts(str_of(fault.text), "network ")) {
        d->network_id[0] = '\0'; /* somebody removed it: the next create makes it anew */
    }
    struct engine_error error = {.code = fault.code, .text = fault.text};
    op->fail(op, &error);
}
