/* carrier_driver.c: see carrier_driver.h. What came reads as "head{...} data{...} end{trailers}" and, when the session is
 * over, "over" or "cut". */
#include "unit/proxy/carrier_driver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "proxy/parts.h"

enum {
    TEXT_BYTES = 1 << 15
};

/* One at a time. */
static struct {
    struct session *session;
    bool stuck, full, reset;
    size_t len, in_len;
    char text[TEXT_BYTES], in[TEXT_BYTES];
} world;

static void note(const char *word, struct str bytes)
{
    size_t room = sizeof world.text - world.len;
    int n = snprintf(world.text + world.len, room, "%s{%.*s} ", word, (int)bytes.len,
                     bytes.len ? bytes.ptr : "");
    world.len += n > 0 && (size_t)n < room ? (size_t)n : 0;
}

static ssize_t carried_recv(struct session *s, void *to, size_t size)
{
    size_t n = world.in_len < size ? world.in_len : size;
    if (world.reset) {
        return -ECONNRESET;
    }
    if (!n) {
        s->conn.readable = s->ended;
        return s->ended ? 0 : -EAGAIN;
    }
    memcpy(to, world.in, n);
    memmove(world.in, world.in + n, world.in_len - n);
    world.in_len -= n;
    return (ssize_t)n;
}

static int carried_send(struct session *s, struct str head, struct str data, bool last,
                        struct str trailers)
{
    (void)s;
    if (head.len) {
        note("head", head);
    }
    if (data.len) {
        note("data", data);
    }
    if (last) {
        note("end", trailers);
    }
    world.full = world.stuck;
    return 0;
}

static int carried_flush(struct session *s)
{
    (void)s;
    return world.full ? 0 : 1;
}

static void carried_over(struct session *s, bool reset)
{
    world.session = world.session == s ? NULL : world.session;
    note(reset ? "cut" : "over", (struct str){NULL, 0});
}

static const struct carrier carrier = {"HTTP/2.0", carried_recv, carried_send, carried_flush,
                                       carried_over};

/* "|" becomes CRLF. */
static size_t unfold(const char *from, char *to)
{
    size_t len = 0;
    for (; *from && len + 2 < TEXT_BYTES; from++) {
        if (*from == '|') {
            to[len++] = '\r';
        }
        to[len++] = *from == '|' ? '\n' : *from;
    }
    return len;
}

static void begin(struct proxy *p, const char *head)
{
    static char text[TEXT_BYTES];
    struct listener *l = list_owner(p->listeners.next, struct listener, node);
    memset(&world, 0, sizeof world);
    struct net_ip from;
    (void)net_ip_parse(str_of("192.0.2.7"), &from);
    world.session = proxy_session_carry(p, l, &carrier, NULL, &from, 51000);
    if (world.session) {
        proxy_session_request(world.session, (struct str){text, unfold(head, text)}, NULL);
    }
}

bool carrierdriver_obey(struct proxy *p, const char *verb, const char *rest, char *reply,
                        size_t size)
{
    struct session *s = world.session;
    if (!strcmp(verb, "carry")) {
        begin(p, rest);
        return true;
    }
    if (!strcmp(verb, "carried")) {
        for (size_t i = 0; i < world.len; i++) {
            world.text[i] = world.text[i] == '\n'   ? '|'
                            : world.text[i] == '\r' ? ' '
                                                    : world.text[i];
        }
        snprintf(reply, size, "%.*s", (int)world.len, world.text);
        world.len = 0;
        return true;
    }
    if (!strcmp(verb, "carry_body")) {
        size_t len = strlen(rest);
        memcpy(world.in + world.in_len, rest, len);
        world.in_len += len;
    } else if (!strcmp(verb, "carry_stuck") || !strcmp(verb, "carry_free")) {
        world.stuck = !strcmp(verb, "carry_stuck");
        world.full = world.full && world.stuck;
    } else if (!strcmp(verb, "carry_reset")) {
        world.reset = true;
    } else if (strcmp(verb, "carry_end") != 0) {
        return false;
    }
    if (s) {
        s->ended = s->ended || !strcmp(verb, "carry_end");
        s->conn.readable = true;
        proxy_session_step(s);
    }
    return true;
}
