/* challenge.c: what ACME authorities ask for to see that a name is ours (RFC 8555, 8.3).
 *
 * There are answers for seconds, each time that a certificate is asked for; else a request costs one look at a
 * pointer. Called by: exchange.c, before a route is looked for. */
#include "proxy/parts.h"

#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"

enum {
    ANSWER_LONGEST = 512 /* a token and a thumbprint are below 400 */
};

void proxy_challenges(struct proxy *p, const struct cJSON *answers)
{
    json_free(p->challenges);
    p->challenges = json_count(answers) ? json_copy(answers) : NULL;
}

static const char *find(const struct proxy *p, struct str path)
{
    static const char below[] = "/.well-known/acme-challenge/";
    if (!str_starts(path, below)) {
        return NULL;
    }
    struct str token = str_sub(path, sizeof below - 1, path.len);
    const struct cJSON *one = json_first(p->challenges);
    while (one && !str_is(token, json_name(one))) {
        one = json_next(one);
    }
    const char *answer = json_value_str(one, NULL);
    return answer && strlen(answer) < ANSWER_LONGEST ? answer : NULL;
}

static void answer_with(struct session *s, const char *answer, bool head_only, bool keep)
{
    char text[256]; /* without a carrier 160 bytes */
    size_t len = strlen(answer);
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/octet-stream\r\n"
                     "Content-Length: %zu\r\n%s\r\n",
                     proxy_date(s->proxy), len,
                     s->carrier ? ""
                     : keep     ? "Connection: keep-alive\r\n"
                                : "Connection: close\r\n");
    s->last = !keep;
    if (proxy_session_tell(s, (struct str){text, (size_t)n},
                           (struct str){answer, head_only ? 0 : len}, true)) {
        proxy_session_kill(s, true);
    } else {
        proxy_session_next(s);
    }
}

bool proxy_challenge_answer(struct session *s, const struct http1_head *head)
{
    const char *answer =
        head->method == HTTP1_GET || head->method == HTTP1_HEAD ? find(s->proxy, head->path) : NULL;
    if (!answer) {
        return false;
    }
    bool bodiless = head->framing == HTTP1_NO_BODY;
    char id[REQUEST_ID_BYTES + 1];
    proxy_request_id(s->proxy, id);
    s->untidy = s->untidy || !bodiless;
    proxy_access_refused(s, head, 200, id);
    answer_with(s, answer, head->method == HTTP1_HEAD,
                head->keep_alive && bodiless && !s->proxy->draining);
    return true;
}
