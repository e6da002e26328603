/* password.c: see password.h.
 *
 * bcrypt, SHA-256 and SHA-512 are libcrypt's (libxcrypt), which is loaded with the first configuration that
 * has such; the digests of apr1 and {SHA} are OpenSSL's. */
#include "edge/password.h"

#include <crypt.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/ban.h"
#include "base/htpasswd.h"
#include "base/mem.h"
#include "net/digest.h"

enum {
    APR1_ROUNDS = 1000,
    SHA1_DIGITS = 28
};

typedef char *crypt_fn(const char *phrase, const char *setting, struct crypt_data *data);

static crypt_fn *library_crypt;

static int load_crypt(char **reterr)
{
    static const char *const names[] = {"libcrypt.so.1", "libcrypt.so.2"};
    for (size_t i = 0; !library_crypt && i < sizeof names / sizeof *names; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        void *symbol = library ? dlsym(library, "crypt_r") : NULL;
        memcpy(&library_crypt, &symbol, sizeof symbol);
    }
    if (library_crypt) {
        return 0;
    }
    *reterr =
        mem_printf("libcrypt, which computes hashes of passwords, could not be loaded; install it "
                   "(Debian: libcrypt1, Fedora: libxcrypt, Alpine: libxcrypt)");
    return -ELIBACC;
}

static int load_digest(enum digest_kind kind, char **reterr)
{
    int rc = digest_load(kind, reterr);
    if (rc == -ENOTSUP) {
        char *why = *reterr;
        *reterr = mem_printf("%s; let htpasswd -B make this hash anew", why);
        mem_free(why);
    }
    return rc;
}

int edge_password_begin(enum htpasswd_kind kind, char **reterr)
{
    if (kind == HTPASSWD_APR1) {
        return load_digest(DIGEST_MD5, reterr);
    } else if (kind == HTPASSWD_SHA1) {
        return load_digest(DIGEST_SHA1, reterr);
    }
    int rc = digest_load(DIGEST_SHA256, reterr); /* which compares */
    return rc ? rc : load_crypt(reterr);
}

static bool check_crypt(const char *hash, const char *password)
{
    struct crypt_data *data = library_crypt ? mem_new(sizeof *data) : NULL;
    const char *got = data ? library_crypt(password, hash, data) : NULL;
    size_t len = strlen(hash);
    bool equal = got && strlen(got) == len && digest_equal(got, hash, len);
    if (data) {
        explicit_bzero(data, sizeof *data);
    }
    mem_free(data);
    return equal;
}

/* ---- apr1 -------------------------------------------------------------------------------- */

/* The first sum: password, magic, salt; of the other one as many bytes as the password has; and for
 * each bit of its length a 0 or its first byte. */
static bool apr1_first(struct digest *d, struct str password, struct str salt,
                       unsigned char sum[DIGEST_MD5_BYTES])
{
    digest_begin(d, DIGEST_MD5);
    digest_add(d, password.ptr, password.len);
    digest_add(d, salt.ptr, salt.len);
    digest_add(d, password.ptr, password.len);
    bool sound = digest_end(d, sum);
    digest_begin(d, DIGEST_MD5);
    digest_add(d, password.ptr, password.len);
    digest_add(d, "$apr1$", 6);
    digest_add(d, salt.ptr, salt.len);
    for (size_t left = password.len; left;) {
        size_t n = left < DIGEST_MD5_BYTES ? left : DIGEST_MD5_BYTES;
        digest_add(d, sum, n);
        left -= n;
    }
    for (size_t bits = password.len; bits; bits >>= 1) {
        digest_add(d, bits & 1 ? "" : password.ptr, 1);
    }
    return digest_end(d, sum) && sound;
}

static bool apr1_round(struct digest *d, struct str password, struct str salt, unsigned round,
                       unsigned char sum[DIGEST_MD5_BYTES])
{
    struct str made = {(const char *)sum, DIGEST_MD5_BYTES};
    struct str first = round % 2 ? password : made, last = round % 2 ? made : password;
    digest_begin(d, DIGEST_MD5);
    digest_add(d, first.ptr, first.len);
    if (round % 3) {
        digest_add(d, salt.ptr, salt.len);
    }
    if (round % 7) {
        digest_add(d, password.ptr, password.len);
    }
    digest_add(d, last.ptr, last.len);
    return digest_end(d, sum);
}

/* 22 digits of crypt's base 64, the bytes in its own order. */
static void apr1_digits(const unsigned char sum[DIGEST_MD5_BYTES], char to[22])
{
    static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t at = 0;
    for (unsigned i = 0; i < 5; i++) {
        uint32_t bits =
            (uint32_t)sum[i] << 16 | (uint32_t)sum[i + 6] << 8 | sum[i == 4 ? 5 : i + 12];
        for (unsigned k = 0; k < 4; k++, bits >>= 6) {
            to[at++] = digits[bits & 63];
        }
    }
    to[at++] = digits[sum[11] & 63];
    to[at] = digits[sum[11] >> 6];
}

static bool check_apr1(struct str hash, struct str password)
{
    struct str rest = str_sub(hash, 6, hash.len), salt;
    unsigned char sum[DIGEST_MD5_BYTES];
    char digits[22];
    if (!str_next(&rest, '$', &salt) || rest.len != sizeof digits) {
        return false;
    }
    struct digest d = {0};
    bool sound = apr1_first(&d, password, salt, sum);
    for (unsigned round = 0; sound && round < APR1_ROUNDS; round++) {
        sound = apr1_round(&d, password, salt, round, sum);
    }
    digest_clear(&d);
    apr1_digits(sum, digits);
    return sound && digest_equal(digits, rest.ptr, sizeof digits);
}

/* ---- {SHA} ------------------------------------------------------------------------------- */

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool check_sha1(struct str hash, struct str password)
{
    struct str wanted = str_sub(hash, 5, hash.len);
    unsigned char sum[DIGEST_SHA1_BYTES + 1] = {0};
    char digits[SHA1_DIGITS];
    struct digest d = {0};
    digest_begin(&d, DIGEST_SHA1);
    digest_add(&d, password.ptr, password.len);
    bool sound = digest_end(&d, sum);
    digest_clear(&d);
    for (size_t i = 0, at = 0; i < sizeof sum; i += 3) {
        uint32_t bits = (uint32_t)sum[i] << 16 | (uint32_t)sum[i + 1] << 8 | sum[i + 2];
        for (unsigned k = 0; k < 4; k++) {
            digits[at++] = BASE64[bits >> (18 - 6 * k) & 63];
        }
    }
    digits[SHA1_DIGITS - 1] = '=';
    return sound && wanted.len == sizeof digits && digest_equal(digits, wanted.ptr, sizeof digits);
}

bool edge_password_check(struct str hash, struct str password)
{
    if (str_starts(hash, "$apr1$")) {
        return check_apr1(hash, password);
    } else if (str_starts(hash, "{SHA}")) {
        return check_sha1(hash, password);
    }
    char text[HTPASSWD_HASH_BYTES + 1], phrase[EDGE_CREDENTIALS_BYTES];
    if (memchr(password.ptr ? password.ptr : "", 0, password.len) ||
        !str_put(phrase, sizeof phrase, password) || !str_put(text, sizeof text, hash)) {
        return false;
    }
    bool equal = check_crypt(text, phrase);
    explicit_bzero(phrase, sizeof phrase);
    return equal;
}

/* ---- Authorization ----------------------------------------------------------------------- */

static int digit_of(char c)
{
    ptrdiff_t at = c ? str_find(str_of(BASE64), c) : -1;
    return (int)at;
}

/* Base64 with its padding, canonical. Length, or -1. */
static ptrdiff_t decode(struct str s, char *to, size_t size)
{
    size_t pad = 0, len = 0;
    while (pad < 2 && s.len > pad && s.ptr[s.len - 1 - pad] == '=') {
        pad++;
    }
    if (!s.len || s.len % 4 || s.len / 4 * 3 - pad > size) {
        return -1;
    }
    uint32_t bits = 0;
    for (size_t i = 0; i < s.len; i++) {
        int digit = i < s.len - pad ? digit_of(s.ptr[i]) : 0;
        if (digit < 0) {
            return -1;
        }
        bits = bits << 6 | (uint32_t)digit;
        size_t whole = i % 4 == 3 ? 3 - (i == s.len - 1 ? pad : 0) : 0;
        for (size_t k = 0; k < whole; k++) {
            to[len++] = (char)(bits >> (16 - 8 * k));
        }
    }
    return (ptrdiff_t)len;
}

bool edge_basic_read(struct str field, char to[EDGE_CREDENTIALS_BYTES], struct str *ret_user,
                     struct str *ret_password)
{
    struct str scheme, rest = field;
    if (!str_next(&rest, ' ', &scheme) || !str_is_nocase(scheme, "Basic")) {
        return false;
    }
    ptrdiff_t len = decode(str_trim(rest), to, EDGE_CREDENTIALS_BYTES - 1);
    for (ptrdiff_t i = 0; i < len; i++) {
        if ((unsigned char)to[i] < ' ' || to[i] == 0x7f) {
            return false;
        }
    }
    struct str all = {to, len > 0 ? (size_t)len : 0};
    ptrdiff_t colon = str_find(all, ':');
    if (len <= 0 || colon < 0) {
        return false;
    }
    *ret_user = str_sub(all, 0, (size_t)colon);
    *ret_password = str_sub(all, (size_t)colon + 1, all.len);
    return true;
}
