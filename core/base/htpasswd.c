/* htpasswd.c: see htpasswd.h. */
#include "base/htpasswd.h"

#include <errno.h>

#include "base/ban.h"

static bool among(struct str s, const char *others)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!word && str_find(str_of(others), c) < 0) {
            return false;
        }
    }
    return true;
}

/* "10$" and the 22 digits of salt and 31 of the hash, behind "$2y$". */
static const char *check_bcrypt(struct str s)
{
    struct str cost;
    uint64_t number;
    if (!str_next(&s, '$', &cost) || cost.len != 2 || str_to_u64(cost, &number) || number < 4 ||
        s.len != 53 || !among(s, "./")) {
        return "this bcrypt hash is not whole: write it again with htpasswd -B";
    }
    return number > HTPASSWD_COST_MOST
               ? "this bcrypt hash has a cost above 15, which takes seconds for each log-in: write "
                 "it again with htpasswd -B -C 10"
               : NULL;
}

static const char *check_apr1(struct str s)
{
    struct str salt;
    bool good =
        str_next(&s, '$', &salt) && salt.len >= 1 && salt.len <= 8 && s.len == 22 && among(s, "./");
    return good && among(salt, "./") ? NULL
                                     : "this apr1 hash is not whole: write it again with htpasswd";
}

static const char *check_sha1(struct str s)
{
    bool good = s.len == 28 && s.ptr[27] == '=' && among(str_sub(s, 0, 27), "+/");
    return good ? NULL
                : "behind {SHA} there are 28 digits of base64: write it again with htpasswd -s";
}

/* "rounds=5000$salt$digits" behind "$5$" or "$6$"; the first part may be missing. */
static const char *check_crypt(struct str s, size_t digits)
{
    static const char prefix[] = "rounds=";
    struct str part;
    uint64_t rounds = 5000;
    bool good = str_next(&s, '$', &part);
    if (good && str_starts(part, prefix)) {
        good = !str_to_u64(str_sub(part, sizeof prefix - 1, part.len), &rounds) && rounds >= 1000 &&
               part.ptr[sizeof prefix - 1] != '0' && str_next(&s, '$', &part);
    }
    if (good && rounds > HTPASSWD_ROUNDS_MOST) {
        return "this hash has more than 999999 rounds, which takes seconds for each log-in";
    }
    good = good && part.len <= 16 && among(part, "./") && s.len == digits && among(s, "./");
    return good ? NULL : "this hash of crypt is not whole: write it again with mkpasswd";
}

static const char *check_hash(struct str hash, enum htpasswd_kind *ret_kind)
{
    static const struct {
        const char *prefix;
        enum htpasswd_kind kind;
    } known[] = {{"$2y$", HTPASSWD_BCRYPT}, {"$2b$", HTPASSWD_BCRYPT}, {"$2a$", HTPASSWD_BCRYPT},
                 {"$apr1$", HTPASSWD_APR1}, {"{SHA}", HTPASSWD_SHA1},  {"$5$", HTPASSWD_SHA256},
                 {"$6$", HTPASSWD_SHA512}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!str_starts(hash, known[i].prefix)) {
            continue;
        }
        struct str rest = str_sub(hash, str_of(known[i].prefix).len, hash.len);
        *ret_kind = known[i].kind;
        switch (known[i].kind) {
        case HTPASSWD_BCRYPT:
            return check_bcrypt(rest);
        case HTPASSWD_APR1:
            return check_apr1(rest);
        case HTPASSWD_SHA1:
            return check_sha1(rest);
        case HTPASSWD_SHA256:
            return check_crypt(rest, 43);
        case HTPASSWD_SHA512:
            return check_crypt(rest, 86);
        case HTPASSWD_KINDS:
            break;
        }
    }
    if (str_starts(hash, "{") || str_starts(hash, "$")) {
        return "this kind of hash is not known: bcrypt, apr1, {SHA}, $5$ and $6$ are; write it "
               "again "
               "with htpasswd -B";
    }
    return "this is no hash but a password in plain text, or one of the old crypt: write it with "
           "htpasswd -B, and change the password";
}

static const char *check_user(struct str user)
{
    if (!user.len) {
        return "the name of the user is missing before \":\"";
    } else if (user.len > HTPASSWD_USER_BYTES) {
        return "the name of the user is longer than 255 bytes";
    }
    for (size_t i = 0; i < user.len; i++) {
        if ((unsigned char)user.ptr[i] < ' ' || user.ptr[i] == 0x7f) {
            return "the name of the user has a control character";
        }
    }
    return NULL;
}

int htpasswd_next(struct htpasswd *at, struct htpasswd_entry *ret_entry, const char **ret_why)
{
    struct str line;
    while (at->rest.len && str_next(&at->rest, '\n', &line)) {
        at->line++;
        if (line.len && line.ptr[line.len - 1] == '\r') {
            line.len--;
        }
        struct str trimmed = str_trim(line);
        if (!trimmed.len || trimmed.ptr[0] == '#') {
            continue;
        }
        ptrdiff_t colon = str_find(line, ':');
        struct htpasswd_entry entry = {.user = line};
        const char *why = colon < 0 ? "there is no \":\" between a user and a hash" : NULL;
        if (!why) {
            entry.user = str_sub(line, 0, (size_t)colon);
            entry.hash = str_sub(line, (size_t)colon + 1, line.len);
            why = check_user(entry.user);
        }
        why = why ? why : check_hash(entry.hash, &entry.kind);
        if (why) {
            *ret_why = why;
            return -EINVAL;
        }
        *ret_entry = entry;
        return 1;
    }
    return 0;
}
