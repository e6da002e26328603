/* h2_head.c: fields of HTTP/2 as HTTP/1.1 text, and the other way round.
 *
 * Owns: nothing. A request's fields come one by one while nghttp2 decodes them; they are written as a head of HTTP/1.1, which the
 * codec then checks as any other. nghttp2 has refused before what RFC 9113 calls malformed: fields in upper case,
 * pseudo-header fields that lack, come twice or late, what is about connections, and bytes that no field may have, line
 * ends among them. What only HTTP/1.1 could misread is refused here: a path that is none, and two names of a host. */
#include "proxy/h2.h"

#include <stdio.h>
#include <string.h>

#include "base/ban.h"

enum {
    COOKIE_AT = BLOCK_BYTES - LIMIT_HEAD_BYTES, /* crumbs are gathered there */
    REST_BYTES = 128                            /* what is added behind the fields, cookies aside */
};

static const char *const pseudo_names[H2_PSEUDOS] = {":method", ":scheme", ":authority", ":path",
                                                     ":protocol"};

static struct str str_of_rcbuf(nghttp2_rcbuf *from)
{
    nghttp2_vec v = from ? nghttp2_rcbuf_get_buf(from) : (nghttp2_vec){NULL, 0};
    return (struct str){(const char *)v.base, v.len};
}

static void put(struct h2_stream *st, struct str s)
{
    struct block *b = st->head;
    if (b->len + s.len + st->cookie_len > LIMIT_HEAD_BYTES) {
        st->status = st->status ? st->status : 431;
        return;
    }
    if (s.len) {
        memcpy(b->bytes + b->len, s.ptr, s.len);
        b->len += (uint32_t)s.len;
    }
}

static void put_text(struct h2_stream *st, const char *text)
{
    put(st, str_of(text));
}

static void put_field(struct h2_stream *st, struct str name, struct str value)
{
    put(st, name);
    put_text(st, ": ");
    put(st, value);
    put_text(st, "\r\n");
}

/* RFC 9113, 8.2.3: crumbs are one field again. */
static void put_crumb(struct h2_stream *st, struct str crumb)
{
    struct block *b = st->head;
    if (b->len + st->cookie_len + crumb.len + 2 > LIMIT_HEAD_BYTES) {
        st->status = st->status ? st->status : 431;
        return;
    }
    if (st->cookie_len) {
        memcpy(b->bytes + COOKIE_AT + st->cookie_len, "; ", 2);
        st->cookie_len += 2;
    }
    memcpy(b->bytes + COOKIE_AT + st->cookie_len, crumb.ptr, crumb.len);
    st->cookie_len += (uint32_t)crumb.len;
}

/* A key that the WebSocket handshake of HTTP/1.1 wants and RFC 8441 does not have: 16 random bytes. */
static void put_websocket(struct h2_stream *st)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char key[25];
    for (int i = 0; i < 21; i++) {
        key[i] = digits[proxy_random(st->h2->session->proxy) >> 32 & 63];
    }
    key[21] = "AQgw"[proxy_random(st->h2->session->proxy) >> 32 & 3]; /* the last two bits */
    memcpy(key + 22, "==", 3);
    put_text(st, "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ");
    put_text(st, key);
    put_text(st, "\r\n");
}

/* "/..." of any method, "*" of OPTIONS. */
static bool path_fits(struct str method, struct str path)
{
    return path.len && (path.ptr[0] == '/' || (str_is(path, "*") && str_is(method, "OPTIONS")));
}

static void put_line(struct h2_stream *st)
{
    struct str method = str_of_rcbuf(st->pseudo[H2_METHOD]);
    struct str path = str_of_rcbuf(st->pseudo[H2_PATH]);
    struct str authority = str_of_rcbuf(st->pseudo[H2_AUTHORITY]);
    struct str protocol = str_of_rcbuf(st->pseudo[H2_PROTOCOL]);
    bool connects = str_is(method, "CONNECT");
    st->lined = true;
    st->tunnel = protocol.len != 0;
    if (st->tunnel && !str_is_nocase(protocol, "websocket")) {
        st->status = 501;
        return;
    }
    if (connects && !st->tunnel) {
        path = authority;
    } else if (!path_fits(method, path)) {
        st->status = 400;
        return;
    }
    put(st, st->tunnel ? str_of("GET") : method);
    put_text(st, " ");
    put(st, path);
    put_text(st, " HTTP/1.1\r\n");
    if (authority.len) {
        put_field(st, str_of("host"), authority);
    }
    if (st->tunnel) {
        put_websocket(st);
    }
}

static bool take_pseudo(struct h2_stream *st, struct str name, nghttp2_rcbuf *value)
{
    for (int i = 0; i < H2_PSEUDOS; i++) {
        if (str_is(name, pseudo_names[i]) && !st->pseudo[i]) {
            nghttp2_rcbuf_incref(value);
            st->pseudo[i] = value;
            return true;
        }
    }
    return false;
}

void proxy_h2_field(struct h2_stream *st, nghttp2_rcbuf *name_buf, nghttp2_rcbuf *value_buf)
{
    struct str name = str_of_rcbuf(name_buf), value = str_of_rcbuf(value_buf);
    if (name.len && name.ptr[0] == ':') {
        if (st->lined || !take_pseudo(st, name, value_buf)) {
            st->status = 400;
        }
        return;
    }
    if (!st->lined) {
        put_line(st);
    }
    if (st->status) {
        return;
    }
    if (str_is(name, "cookie")) {
        put_crumb(st, value);
    } else if (str_is(name, "host") && st->pseudo[H2_AUTHORITY]) {
        if (!str_eq(value, str_of_rcbuf(st->pseudo[H2_AUTHORITY]))) {
            st->status = 400;
        }
    } else {
        st->length = st->length || str_is(name, "content-length");
        put_field(st, name, value);
    }
}

bool proxy_h2_head(struct h2_stream *st, struct str *ret_text)
{
    struct block *b = st->head;
    if (!st->lined) {
        put_line(st);
    }
    if (st->status) {
        return false;
    }
    char *at = b->bytes + b->len; /* the block has room for both parts, each of LIMIT_HEAD_BYTES */
    if (st->cookie_len) {
        memcpy(at, "cookie: ", 8);
        memcpy(at + 8, b->bytes + COOKIE_AT, st->cookie_len);
        at += 8 + st->cookie_len;
        memcpy(at, "\r\n", 2);
        at += 2;
    }
    bool framed = st->length || st->tunnel;
    if (!framed && st->ended && st->in) { /* all of it is here */
        at += snprintf(at, REST_BYTES, "Content-Length: %u\r\n", st->in->len - st->in->at);
    } else if (!framed && !st->ended) {
        at += snprintf(at, REST_BYTES, "Transfer-Encoding: chunked\r\n");
    }
    memcpy(at, "\r\n", 2);
    *ret_text = (struct str){b->bytes, (size_t)(at + 2 - b->bytes)};
    return true;
}

void proxy_h2_head_drop(struct h2_stream *st)
{
    for (int i = 0; i < H2_PSEUDOS; i++) {
        if (st->pseudo[i]) {
            nghttp2_rcbuf_decref(st->pseudo[i]);
            st->pseudo[i] = NULL;
        }
    }
    proxy_block_give(st->h2->session->proxy, &st->head);
}

/* ---- answers ----------------------------------------------------------------------------- */

/* What is about connections has no place here (RFC 9113, 8.2.2), whoever wrote it. */
static bool of_connection(struct str name)
{
    switch (name.len) {
    case 7:
        return str_is_nocase(name, "upgrade");
    case 10:
        return str_is_nocase(name, "connection") || str_is_nocase(name, "keep-alive");
    case 16:
        return str_is_nocase(name, "proxy-connection");
    case 17:
        return str_is_nocase(name, "transfer-encoding");
    default:
        return false;
    }
}

size_t proxy_h2_fields(struct str lines, bool tunnel, nghttp2_nv *to, size_t most)
{
    size_t count = 0;
    struct str line;
    while (count < most && str_next(&lines, '\n', &line) && line.len > 1) {
        struct str name;
        if (!str_next(&line, ':', &name) || !name.len || of_connection(name) ||
            (tunnel && str_is_nocase(name, "sec-websocket-accept"))) {
            continue;
        }
        struct str value = str_trim(str_sub(line, 0, line.len - 1)); /* without CR */
        to[count++] = (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr,
                                   name.len, value.len, NGHTTP2_NV_FLAG_NONE};
    }
    return count;
}
