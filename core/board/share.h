/* share.h: what a route allows over all workers: places of one client, and repeats.
 *
 * Both keep to the rule of the board: each worker writes only its own numbers, makes them known before
 * it sums all, and takes them back when the sum is too much. So of two that take the last place at the
 * same moment both may be refused, but not both let in, and what a dead worker held is given back by
 * zeroing its part. There is no lock and nothing to repair.
 *
 * Clients. A worker has a table of BOARD_CLIENT_BUCKETS buckets of one cache line, each with cells
 * "40 bits of the key, 24 bits of count"; a cell without a count is free. The key says which bucket, in
 * all tables the same one, so a sum looks at one line a worker. Keys begin with a secret of the board:
 * nobody can choose an address that is counted with another's.
 *
 * Repeats. Requests and repeats of the last BOARD_BUDGET_S seconds, in buckets of a second. A dead
 * worker's stay until they are old: they happened. Rows go by a route's place in the configuration, so
 * for ten seconds after a reload that moves routes a budget counts what was another's. */
#ifndef BOARD_SHARE_H
#define BOARD_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "board/board.h"

/* What a client's requests on a route are counted under, the same in all workers. `route` tells routes
 * apart, also beyond a reload. */
uint64_t board_client_key(const struct board *b, uint64_t route, const char *address);
/* One more of worker's. false: there is no room in its table, nothing was counted, the worker counts
 * this one itself. */
bool board_client_enter(struct board *b, unsigned worker, uint64_t key);
/* One less of those counted by board_client_enter. */
void board_client_leave(struct board *b, unsigned worker, uint64_t key);
/* Over all workers. */
uint64_t board_client_count(const struct board *b, uint64_t key);

/* A request came to route `route` (< BOARD_ROUTES). */
void board_budget_ask(struct board *b, unsigned worker, unsigned route, uint64_t now_ms);
/* One may be sent again, and is counted: repeats are at most `ratio` of the requests and `per_second`
 * beside that (Finagle's and linkerd's RetryBudget). */
bool board_budget_repeat(struct board *b, unsigned worker, unsigned route, double ratio,
                         double per_second, uint64_t now_ms);

#endif
