/* renew.c: when a certificate is asked for, and when again; see acme.h. */
#include <string.h>
#include <time.h>

#include "acme/acme.h"
#include "base/ban.h"
#include "base/hash.h"
#include "base/str.h"

enum {
    FACTOR = 3,
    MOST_MS = 12 * 3600 * 1000
};

static const uint64_t FAR_MS =
    366ull * 86400 * 1000; /* nobody is kept waiting for longer than a year */

uint64_t acme_renew_ms(uint64_t from_ms, uint64_t to_ms, const char *salt)
{
    if (to_ms <= from_ms) {
        return from_ms;
    }
    uint64_t lifetime = to_ms - from_ms;
    uint64_t seed = hash_more(from_ms, salt, strlen(salt));
    return from_ms + lifetime / 3 * 2 + seed % (lifetime / 30 + 1);
}

uint64_t acme_retry_ms(uint64_t now_ms, uint64_t least_ms, unsigned failures, double chance,
                       uint64_t not_before_ms)
{
    uint64_t most = least_ms > MOST_MS ? least_ms : MOST_MS, wait = least_ms;
    for (unsigned i = 1; i < failures && wait < most; i++) {
        wait *= FACTOR;
    }
    wait = wait < most ? wait : most;
    uint64_t at = now_ms + (uint64_t)((double)wait * (0.8 + 0.4 * chance));
    return at > not_before_ms ? at : not_before_ms;
}

uint64_t acme_retry_after_ms(const char *field, uint64_t now_ms)
{
    uint64_t seconds;
    struct tm tm = {0};
    if (!str_to_u64(str_trim(str_of(field)), &seconds)) {
        return now_ms + (seconds < FAR_MS / 1000 ? seconds * 1000 : FAR_MS);
    }
    if (!strptime(field, "%a, %d %b %Y %H:%M:%S GMT", &tm)) {
        return 0;
    }
    uint64_t at_ms = (uint64_t)timegm(&tm) * 1000;
    return at_ms > now_ms + FAR_MS ? now_ms + FAR_MS : at_ms;
}
