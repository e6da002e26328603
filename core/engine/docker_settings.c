/* docker_settings.c: where the engine is and how instances are reached, from
 * "cluster" of the configuration (script.h). See docker.h. */
#include "engine/docker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static const char default_host[] = "unix:///var/run/docker.sock";

/* A copy, or NULL for "". */
static char *copy_unless_empty(const char *text)
{
    return text && text[0] ? mem_copy(text) : NULL;
}

static int read_unix(const char *path, struct docker_settings *s, char **reterr)
{
    enum {
        SOCKET_PATH_BYTES = 107
    }; /* of sockaddr_un */
    if (path[0] != '/' || strlen(path) > SOCKET_PATH_BYTES) {
        *reterr =
            mem_printf("docker.host: \"unix://%s\": needs an absolute path of at most %d bytes",
                       path, SOCKET_PATH_BYTES);
        return -EINVAL;
    }
    s->unix_path = mem_copy(path);
    s->base_url = mem_copy("http://docker");
    s->host = mem_copy("127.0.0.1");
    return 0;
}

/* "host", "host:2375", "[::1]:2375" */
static int read_tcp(const char *rest, struct docker_settings *s, char **reterr)
{
    bool tls = s->ca || s->certificate || s->key;
    struct str all = str_of(rest), host, port = {"", 0};
    if (str_ends(all, "/")) {
        all.len--;
    }
    ptrdiff_t bracket = str_starts(all, "[") ? str_find(all, ']') : 0;
    ptrdiff_t colon = bracket < 0 ? -1 : str_find(str_sub(all, (size_t)bracket, all.len), ':');
    host = colon < 0 ? all : str_sub(all, 0, (size_t)(bracket + colon));
    if (colon >= 0) {
        port = str_sub(all, (size_t)(bracket + colon) + 1, all.len);
    }
    uint64_t number = tls ? 2376 : 2375;
    if (!host.len || bracket < 0 || memchr(host.ptr, '/', host.len) ||
        (colon >= 0 && (str_to_u64(port, &number) || !number || number > 65535))) {
        *reterr = mem_printf("docker.host: \"tcp://%s\": needs the form tcp://host:port", rest);
        return -EINVAL;
    }
    s->base_url = mem_printf("%s://%.*s:%u", tls ? "https" : "http", (int)host.len, host.ptr,
                             (unsigned)number);
    s->host = mem_copy_bytes(host.ptr, host.len);
    return 0;
}

int docker_settings_read(const struct cJSON *cluster_config, struct docker_settings *ret_settings,
                         char **reterr)
{
    struct docker_settings s = {0};
    const struct cJSON *docker = json_get(cluster_config, "docker");
    const struct cJSON *tls = json_get(docker, "tls");
    const char *host = json_str(docker, "host", "");
    if (!host[0]) {
        host = getenv("DOCKER_HOST");
    }
    if (!host || !host[0]) {
        host = default_host;
    }
    s.cluster = mem_copy(json_str(cluster_config, "id", ""));
    s.publish = json_bool(docker, "publish", false);
    s.network = copy_unless_empty(json_str(docker, "network", ""));
    s.ca = copy_unless_empty(json_str(tls, "ca", ""));
    s.certificate = copy_unless_empty(json_str(tls, "certificate", ""));
    s.key = copy_unless_empty(json_str(tls, "key", ""));

    int rc;
    if (!s.cluster[0]) {
        *reterr = mem_copy("cluster.id: must not be empty");
        rc = -EINVAL;
    } else if (str_starts(str_of(host), "unix://")) {
        rc = read_unix(host + strlen("unix://"), &s, reterr);
    } else if (str_starts(str_of(host), "tcp://")) {
        rc = read_tcp(host + strlen("tcp://"), &s, reterr);
    } else {
        *reterr = mem_printf("docker.host: \"%s\": use unix:///path or tcp://host:port", host);
        rc = -EINVAL;
    }
    if (rc) {
        docker_settings_free(&s);
        return rc;
    }
    *ret_settings = s;
    return 0;
}

void docker_settings_free(struct docker_settings *s)
{
    mem_release(&s->cluster);
    mem_release(&s->unix_path);
    mem_release(&s->base_url);
    mem_release(&s->host);
    mem_release(&s->network);
    mem_release(&s->ca);
    mem_release(&s->certificate);
    mem_release(&s->key);
}
