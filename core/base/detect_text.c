/* detect_text.c: the learning state of detect.h as text: "record1:<checksum>:<base64>".
 *
 * The bytes are those of the struct, so the version also stands for its layout: whoever changes
 * struct detect raises it, and old states are learned anew. */
#include "base/detect.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "base/ban.h"

static const char HEAD[] = "record1:";
static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum {
    HEAD_BYTES = sizeof(HEAD) - 1,
    HASH_BYTES = 16,
    BODY = HEAD_BYTES + HASH_BYTES + 1,
    GROUPS = (sizeof(struct detect) + 2) / 3, /* of three bytes in four digits */
    TEXT_BYTES = BODY + GROUPS * 4,
};

_Static_assert((int)TEXT_BYTES < (int)DETECT_TEXT_BYTES, "a saved state must fit");
_Static_assert(sizeof(struct detect) <= 1024, "a series may cost a kilobyte");

size_t detect_save(const struct detect *d, char ret_text[DETECT_TEXT_BYTES])
{
    unsigned char bytes[GROUPS * 3] = {0};
    memcpy(bytes, d, sizeof(*d));
    memcpy(ret_text, HEAD, HEAD_BYTES);
    char hash[HASH_BYTES + 1];
    hash_hex(hash_bytes(bytes, sizeof(bytes)), hash);
    memcpy(ret_text + HEAD_BYTES, hash, HASH_BYTES);
    ret_text[BODY - 1] = ':';
    char *to = ret_text + BODY;
    for (size_t i = 0; i < sizeof(bytes); i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) {
            *to++ = DIGITS[group >> shift & 63];
        }
    }
    *to = '\0';
    return TEXT_BYTES;
}

/* 0..63, or -1. */
static int digit_value(char digit)
{
    const char *at = digit ? strchr(DIGITS, digit) : NULL;
    return at ? (int)(at - DIGITS) : -1;
}

static int decode(const char *text, unsigned char *to)
{
    for (size_t i = 0; i < GROUPS; i++) {
        uint32_t group = 0;
        for (int k = 0; k < 4; k++) {
            int value = digit_value(text[i * 4 + (size_t)k]);
            if (value < 0) {
                return -EINVAL;
            }
            group = group << 6 | (uint32_t)value;
        }
        *to++ = (unsigned char)(group >> 16);
        *to++ = (unsigned char)(group >> 8);
        *to++ = (unsigned char)group;
    }
    return 0;
}

int detect_restore(const char *text, struct detect *ret_state)
{
    unsigned char bytes[GROUPS * 3];
    char hash[HASH_BYTES + 1];
    if (strlen(text) != TEXT_BYTES || memcmp(text, HEAD, HEAD_BYTES) != 0 ||
        text[BODY - 1] != ':' || decode(text + BODY, bytes) < 0) {
        return -EINVAL;
    }
    hash_hex(hash_bytes(bytes, sizeof(bytes)), hash);
    if (memcmp(text + HEAD_BYTES, hash, HASH_BYTES) != 0) {
        return -EINVAL;
    }
    struct detect state;
    memcpy(&state, bytes, sizeof(state));
    if (!(state.count >= 0) || state.slot < 0 || state.slot > DETECT_SLOTS) {
        return -EINVAL;
    }
    *ret_state = state;
    return 0;
}
