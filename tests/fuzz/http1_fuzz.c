/* http1_fuzz.c: libFuzzer target of the HTTP/1 codec (scripts/dev fuzz).
 *
 * The first byte chooses the parser. Beside memory errors it checks that what is accepted lies
 * inside the input, and that an accepted head is not accepted without its last byte.
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

static void fuzz_head(struct str in, bool request)
{
    size_t used = 0;
    int status = 0;
    enum http1_result whole = request ? http1_parse_request(in, &head, &used, &status)
                                      : http1_parse_response(in, HTTP1_GET, &head, &used);
    if (whole == HTTP1_DONE) {
        check_fields(in, used);
        size_t again = 0;
        struct str cut = {in.ptr, used - 1};
        check((request ? http1_parse_request(cut, &head, &again, &status)
                       : http1_parse_response(cut, HTTP1_GET, &head, &again)) == HTTP1_MORE);
    } else if (request && whole == HTTP1_BAD) {
        check(status >= 400 && status <= 505);
    }
}

static void fuzz_chunks(struct str in, size_t step)
{
    struct http1_chunks c = {0};
    size_t at = 0;
    while (at < in.len && !c.done) {
        struct str part = str_sub(in, at, at + step);
        struct str piece;
        size_t used = 0;
        if (http1_chunks_next(&c, part, &piece, &used)) {
            return;
        }
        check(used > 0 && used <= part.len && piece.len <= used);
        at += used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    char *copy = malloc(size - 1); /* its own block, so that reading beyond it is seen */
    memcpy(copy, data + 1, size - 1);
    struct str in = {copy, size - 1};
    if (data[0] % 4 < 2) {
        fuzz_head(in, data[0] % 4 == 0);
    } else {
        fuzz_chunks(in, 1u + data[0] / 4u);
    }
    free(copy);
    return 0;
}
