/* htpasswd_fuzz.c: libFuzzer target of files of users and of Authorization fields (scripts/dev fuzz).
 *
 * Beside memory errors it checks that what is read lies inside the text and is what stands in a line of it, that
 * a text reads the same with its lines alone, and that credentials are whole and have no control characters. Hashes
 * that are computed quickly are computed, too.
 * sources: core/base/htpasswd.c core/base/str.c core/base/mem.c core/edge/password.c core/net/digest.c core/net/openssl.c
 */
#include <stdlib.h>
#include <string.h>

#include "base/htpasswd.h"
#include "edge/password.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check_entry(struct str text, const struct htpasswd_entry *e)
{
    check(e->user.len && e->user.len <= HTPASSWD_USER_BYTES && e->user.ptr >= text.ptr);
    check(e->hash.ptr == e->user.ptr + e->user.len + 1);
    check(e->hash.ptr + e->hash.len <= text.ptr + text.len && e->hash.len <= HTPASSWD_HASH_BYTES);
    check(!memchr(e->user.ptr, '\n', e->user.len) && !memchr(e->hash.ptr, '\n', e->hash.len));
    check(!memchr(e->hash.ptr, 0, e->hash.len) && e->kind < HTPASSWD_KINDS);
    if (e->kind == HTPASSWD_SHA1 || e->kind == HTPASSWD_APR1) {
        char *error;
        check(!edge_password_begin(e->kind, &error));
        (void)edge_password_check(e->hash, e->user);
    }
    /* Its line alone says the same. */
    struct htpasswd at = {{e->user.ptr, (size_t)(e->hash.ptr + e->hash.len - e->user.ptr)}, 0};
    struct htpasswd_entry again;
    const char *why;
    check(htpasswd_next(&at, &again, &why) == 1 && again.kind == e->kind && at.line == 1);
    check(again.user.len == e->user.len && again.hash.len == e->hash.len);
}

static void read_file(struct str text)
{
    struct htpasswd at = {text, 0};
    struct htpasswd_entry entry;
    const char *why = NULL;
    unsigned line = 0;
    for (int rc; (rc = htpasswd_next(&at, &entry, &why)) != 0;) {
        check(at.line > line);
        line = at.line;
        if (rc > 0) {
            check_entry(text, &entry);
        } else {
            check(why && *why);
        }
    }
}

static void read_field(struct str field)
{
    char to[EDGE_CREDENTIALS_BYTES];
    struct str user, password;
    if (!edge_basic_read(field, to, &user, &password)) {
        return;
    }
    check(user.ptr == to && to[user.len] == ':');
    check(!password.len || password.ptr == to + user.len + 1);
    check(user.len + 1 + password.len < sizeof to && !memchr(user.ptr, ':', user.len));
    for (size_t i = 0; i < user.len + 1 + password.len; i++) {
        check((unsigned char)to[i] >= ' ' && to[i] != 0x7f);
    }
    check((user.len + 1 + password.len + 2) / 3 * 4 < field.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1) {
        struct str text = {(const char *)data + 1, size - 1};
        if (data[0] & 1) {
            read_file(text);
        } else {
            read_field(text);
        }
    }
    return 0;
}
