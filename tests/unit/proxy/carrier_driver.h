/* carrier_driver.h: a client without a socket that does what a spec tells it. */
#ifndef CARRIER_DRIVER_H
#define CARRIER_DRIVER_H

#include <stdbool.h>
#include <stddef.h>

struct proxy;

/* Obeys "carry HEAD" (begins a request; "|" is CRLF), "carry_body BYTES", "carry_end", "carry_reset",
 * "carry_stuck" (takes no more than one piece), "carry_free" (takes on), and "carried": what came, forgotten then.
 * False: the verb is none of these. */
bool carrierdriver_obey(struct proxy *p, const char *verb, const char *rest, char *reply,
                        size_t size);

#endif
