/* mail.c: mails by SMTP; see mail.h. libcurl speaks the protocol and doubles leading dots.
 *
 * Called by: client.c. Does not: write the message, which is its sender's (RFC 5322). */
#include "net/mail.h"

#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/net.h"

void mail_set(const struct net_curl *curl, CURL *easy, const struct net_request *r,
              struct mail *ret_mail)
{
    const struct net_mail *mail = r->mail;
    ret_mail->text = mem_copy_bytes(r->body ? r->body : "", r->body ? r->body_len : 0);
    ret_mail->len = r->body ? r->body_len : 0;
    for (const char *const *to = mail->to; *to; to++) {
        struct curl_slist *more = curl->slist_append(ret_mail->to, *to);
        must(more);
        ret_mail->to = more;
    }
    curl->easy_set(easy, CURLOPT_MAIL_FROM, mail->from);
    curl->easy_set(easy, CURLOPT_MAIL_RCPT, ret_mail->to);
    /* One mailbox that is gone must not keep it from the others. */
    curl->easy_set(easy, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
    curl->easy_set(easy, CURLOPT_UPLOAD, 1L);
    curl->easy_set(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)ret_mail->len);
    curl->easy_set(easy, CURLOPT_USE_SSL,
                   mail->starttls ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_NONE);
    if (mail->user) {
        curl->easy_set(easy, CURLOPT_USERNAME, mail->user);
        curl->easy_set(easy, CURLOPT_PASSWORD, mail->password ? mail->password : "");
    }
}

void mail_note(struct buf *said, struct str line)
{
    if (!str_starts(line, "221")) { /* the good-bye */
        buf_clear(said);
        (void)buf_append(said, line.ptr, line.len);
    }
}

size_t mail_read(struct mail *mail, char *to, size_t room)
{
    size_t left = mail->len - mail->at, len = left < room ? left : room;
    memcpy(to, mail->text + mail->at, len);
    mail->at += len;
    return len;
}

void mail_free(struct mail *mail)
{
    mem_release(&mail->text);
}
