/* http1_fuzz.c: libFuzzer target of the HTTP/1 codec (scripts/dev fuzz).
 *
 * The first byte chooses the parser, for an answer the method of its request, for chunks the size of
 * steps. Beside memory errors it checks that what is accepted lies inside the input, that an accepted
 * head is not accepted without its last byte and has a body only where one may be, that chunks
 * decode the same in one piece and in steps, and that the trailers behind them parse as fields.
 * sources: core/net/http1_request.c core/net/http1_response.c core/net/http1_fields.c core/net/http1_chunks.c core/base/str.c
 */
#include "net/http1.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct http1_head head;

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check_fields(struct str in, size_t used)
{
    check(used <= in.len && used <= LIMIT_HEAD_BYTES && head.field_count <= LIMIT_FIELDS);
    for (uint32_t i = 0; i < head.field_count; i++) {
        const struct http1_field *f = &head.fields[i];
        check(f->name.len > 0 && f->name.ptr >= in.ptr &&
              f->value.ptr + f->value.len <= in.ptr + used);
        check(!memchr(f->value.ptr, '\n', f->value.len) && !memchr(f->value.ptr, 0, f->value.len));
    }
}

static void check_request(void)
{
    check(head.minor == 0 || head.minor == 1);
    check(head.framing != HTTP1_UNTIL_CLOSE && (head.minor || head.framing != HTTP1_CHUNKED));
    check(!head.minor || head.host.len > 0);
    check(head.path.len > 0 || head.method == HTTP1_CONNECT);
}

/* Which answers have no body, whatever their fields say. (Those to CONNECT are never asked for.) */
static void check_response(enum http1_method method)
{
    check(head.status >= 100 && head.status <= 599);
    bool bodiless =
        method == HTTP1_HEAD || head.status < 200 || head.status == 204 || head.status == 304;
    check(!bodiless || head.framing == HTTP1_NO_BODY);
}

static enum http1_result parse(struct str in, bool request, enum http1_method method,
                               size_t *ret_used, int *ret_status)
{
    return request ? http1_parse_request(in, &head, ret_used, ret_status)
                   : http1_parse_response(in, method, &head, ret_used);
}

static void fuzz_head(struct str in, bool request, enum http1_method method)
{
    size_t used = 0;
    int status = 0;
    enum http1_result whole = parse(in, request, method, &used, &status);
    if (whole == HTTP1_DONE) {
        check_fields(in, used);
        check(head.framing != HTTP1_LENGTH || head.has_content_length);
        check(head.framing != HTTP1_CHUNKED || !head.has_content_length);
        if (request) {
            check_request();
        } else {
            check_response(method);
        }
        size_t again = 0;
        check(parse((struct str){in.ptr, used - 1}, request, method, &again, &status) ==
              HTTP1_MORE);
    } else if (request && whole == HTTP1_BAD) {
        check(status >= 400 && status <= 505);
    }
}

/* What decoding in steps came to. */
struct decoded {
    uint64_t hash;
    size_t used, bytes;
    uint32_t fields;
    bool done, bad;
};

static struct decoded decode(struct str in, size_t step)
{
    struct http1_chunks c = {0};
    struct decoded d = {.hash = 0xcbf29ce484222325u};
    size_t trailers = 0;
    while (d.used < in.len && !c.done) {
        struct str piece;
        size_t used = 0;
        bool inside = c.trailers;
        struct str part = str_sub(in, d.used, d.used + step);
        if (http1_chunks_next(&c, part, &piece, &used)) {
            d.bad = true;
            return d;
        }
        check(used > 0 && used <= part.len && piece.len <= used);
        for (size_t i = 0; i < piece.len; i++) {
            d.hash = (d.hash ^ (unsigned char)piece.ptr[i]) * 0x100000001b3u;
        }
        d.bytes += piece.len;
        d.used += used;
        check(!inside || !piece.len);
        trailers = inside ? trailers : d.used;
    }
    d.done = c.done;
    if (c.done) {
        struct str section = str_sub(in, trailers, d.used);
        check(!http1_parse_trailers(section, &head) && head.field_count == c.fields);
        check(head.field_count <= LIMIT_FIELDS && section.len >= 2);
        d.fields = head.field_count;
    }
    return d;
}

/* A body reads the same however the network cuts it. */
static void fuzz_chunks(struct str in, size_t step)
{
    struct decoded whole = decode(in, in.len), cut = decode(in, step);
    check(whole.bad == cut.bad && whole.done == cut.done);
    check(whole.bad || (whole.used == cut.used && whole.bytes == cut.bytes &&
                        whole.hash == cut.hash && whole.fields == cut.fields));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    char *copy = malloc(size - 1); /* its own block, so that reading beyond it is seen */
    memcpy(copy, data + 1, size - 1);
    struct str in = {copy, size - 1};
    unsigned kind = data[0] % 4u, more = data[0] / 4u;
    if (kind < 2) {
        fuzz_head(in, kind == 0, (enum http1_method)(more % HTTP1_METHODS));
    } else {
        fuzz_chunks(in, 1u + more);
    }
    free(copy);
    return 0;
}
