/* channel_mail.c: a message as a mail (RFC 5322, 2045, 2047). Pure.
 *
 * Mails of one group of alerts refer to the same made-up mail, so that readers show them as a thread. */
#include "watch/channel_private.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    MAIL_BYTES = 4 * CHANNEL_TEXT_BYTES,
    LINE_BYTES = 76,        /* of encoded text */
    WORD_BYTES = 45,        /* of text in one encoded word: 60 encoded, 75 with what is around */
    PLAIN_LINE_BYTES = 900, /* a line may have 998 */
};

static void base64(struct buf *to, const char *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)(unsigned char)bytes[i] << 16;
        v |= i + 1 < len ? (unsigned)(unsigned char)bytes[i + 1] << 8 : 0;
        v |= i + 2 < len ? (unsigned char)bytes[i + 2] : 0;
        char out[4] = {digits[v >> 18], digits[v >> 12 & 63],
                       i + 1 < len ? digits[v >> 6 & 63] : '=', i + 2 < len ? digits[v & 63] : '='};
        (void)buf_append(to, out, sizeof out);
    }
}

/* Whether it may stand in a mail as it is. */
static bool is_plain(const char *text)
{
    size_t line = 0;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        line = c == '\n' ? 0 : line + 1;
        if (c >= 0x7f || (c < 0x20 && c != '\n' && c != '\t') || line > PLAIN_LINE_BYTES) {
            return false;
        }
    }
    return true;
}

/* A header's text: as it is, or as encoded words; never with a line break of its own. */
static void put_header_text(struct buf *to, const char *text)
{
    size_t len = strlen(text);
    if (is_plain(text) && !strpbrk(text, "\n\t") && len < 200) {
        (void)buf_text(to, text);
        return;
    }
    for (size_t at = 0; at < len;) {
        size_t take = len - at < WORD_BYTES ? len - at : WORD_BYTES;
        while (take > 1 && at + take < len && ((unsigned char)text[at + take] & 0xc0) == 0x80) {
            take--; /* not within a character */
        }
        (void)buf_text(to, at ? "\r\n =?UTF-8?B?" : "=?UTF-8?B?");
        base64(to, text + at, take);
        (void)buf_text(to, "?=");
        at += take;
    }
}

/* An address as the operator wrote it, without what would end the line. */
static void put_address(struct buf *to, const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text >= 0x20) {
            (void)buf_append(to, text, 1);
        }
    }
}

char *channel_mail_address(const char *text)
{
    struct buf b;
    const char *open = strrchr(text, '<'), *close = open ? strchr(open, '>') : NULL;
    size_t len = close ? (size_t)(close - open - 1) : strlen(text);
    buf_init(&b, len + 1);
    char *part = mem_copy_bytes(close ? open + 1 : text, len);
    put_address(&b, part);
    mem_free(part);
    return buf_take(&b);
}

static void put_date(struct buf *to, uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[64]; /* "Sat, 31 Jan 2026 12:00:00 +0000" */
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S +0000", &tm);
    (void)buf_printf(to, "Date: %s\r\n", text);
}

static void put_ids(struct buf *to, const struct notice *n, const char *domain)
{
    const char *group = json_str(n->group, "groupKey", "");
    char thread[17];
    hash_hex(hash_bytes(group, strlen(group)), thread);
    (void)buf_printf(to, "Message-ID: <%s.%s@%s>\r\n", n->id, n->name, domain);
    (void)buf_printf(to, "In-Reply-To: <group.%s.%s@%s>\r\nReferences: <group.%s.%s@%s>\r\n",
                     thread, n->name, domain, thread, n->name, domain);
}

static void put_body(struct buf *to, const char *text)
{
    if (is_plain(text)) {
        (void)buf_text(to, "Content-Transfer-Encoding: 7bit\r\n\r\n");
        struct str rest = str_of(text), line;
        while (str_next(&rest, '\n', &line)) {
            (void)buf_append(to, line.ptr, line.len);
            (void)buf_text(to, "\r\n");
        }
        return;
    }
    (void)buf_text(to, "Content-Transfer-Encoding: base64\r\n\r\n");
    size_t len = strlen(text), step = LINE_BYTES / 4 * 3;
    for (size_t at = 0; at < len; at += step) {
        base64(to, text + at, len - at < step ? len - at : step);
        (void)buf_text(to, "\r\n");
    }
}

char *channel_mail_text(const struct notice *n)
{
    const struct cJSON *to = json_get(n->channel, "to");
    const char *from = json_str(to, "from", "");
    char *title = channel_title(n->message), *text = channel_text(n->message);
    char *address = channel_mail_address(from);
    const char *at = strrchr(address, '@');
    struct buf b;
    buf_init(&b, MAIL_BYTES);
    (void)buf_text(&b, "From: ");
    put_address(&b, from);
    const char *before = "\r\nTo: ";
    for (const struct cJSON *one = json_first(json_get(to, "to")); one; one = json_next(one)) {
        (void)buf_text(&b, before);
        put_address(&b, json_value_str(one, ""));
        before = ",\r\n ";
    }
    (void)buf_text(&b, "\r\nSubject: ");
    put_header_text(&b, title);
    (void)buf_text(&b, "\r\n");
    put_date(&b, n->wall_ms);
    put_ids(&b, n, at && at[1] ? at + 1 : "tidegate.invalid");
    (void)buf_text(&b, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                       "Content-Type: text/plain; charset=utf-8\r\n");
    if (strlen(text) > CHANNEL_TEXT_BYTES) { /* a template's */
        size_t len = CHANNEL_TEXT_BYTES;
        while (len && ((unsigned char)text[len] & 0xc0) == 0x80) {
            len--;
        }
        text[len] = '\0';
    }
    put_body(&b, text);
    mem_free(title);
    mem_free(text);
    mem_free(address);
    return buf_take(&b);
}
