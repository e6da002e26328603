/* board_private.h: the layout of a worker's traffic on the board, for the files of this room. */
#ifndef BOARD_BOARD_PRIVATE_H
#define BOARD_BOARD_PRIVATE_H

#include <stdint.h>

#include "board/traffic.h"

struct board_traffic_rows {
    uint32_t counts_used,
        times_used; /* rows that were ever used; the first is that of BOARD_ROUTE_OTHER */
    struct board_count counts[BOARD_COUNT_ROWS];
    struct board_times times[BOARD_TIME_ROWS];
};

struct board_traffic_rows *board_traffic_rows(const struct board *b, unsigned worker);

#endif
