/* mail.h: the mail side of a call; private to the room. */
#ifndef NET_MAIL_H
#define NET_MAIL_H

#include <stddef.h>

#include "base/str.h"
#include "net/curl.h"

struct buf;
struct net_request;

/* A mail on its way; zeroed: the call is none. */
struct mail {
    char *text; /* the whole message */
    size_t len, at;
    struct curl_slist *to; /* freed by who frees the easy handle */
};

/* Sets what makes the call a mail, and copies its message. */
void mail_set(const struct net_curl *curl, CURL *easy, const struct net_request *r,
              struct mail *ret_mail);
/* Keeps a line that the server said, if it is the last one that counts. */
void mail_note(struct buf *said, struct str line);
/* The next bytes of it; 0 at the end. */
size_t mail_read(struct mail *mail, char *to, size_t room);
void mail_free(struct mail *mail);

#endif
