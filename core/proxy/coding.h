/* coding.h: answers that go out compressed; private to the proxy. */
#ifndef PROXY_CODING_H
#define PROXY_CODING_H

#include <stddef.h>

#include "base/str.h"
#include "edge/compress.h"
#include "proxy/exchange.h"

enum {
    CODED_BYTES = 16 << 10 /* of an answer that are coded in a round of the loop */
};

/* ex->course: decides over the answer with this head, which is changed to what the client gets; ex->coder is what
 * its body goes through, or NULL. `etag` must live as long as the head. */
void proxy_coding_begin(struct exchange *ex, struct http1_head *head, char etag[EDGE_ETAG_BYTES]);
/* ex->coder: what came of the body, with the head before it or an empty one; ex->out.done: it is all of it. */
enum progress proxy_coding_send(struct exchange *ex, struct str head, struct str data);
/* ex->coder: sends what waits. */
enum progress proxy_coding_step(struct exchange *ex);
/* Whether proxy_coding_step is to be called before more is read. */
bool proxy_coding_waits(const struct exchange *ex);
void proxy_coding_end(struct exchange *ex);

#endif
