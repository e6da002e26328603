/* detect.h: the record detector: tells of each point of a series how unusual it is, from what came
 * before. A kilobyte a series, the same small work for every point, no look ahead, no units.
 *
 * HOW IT WORKS. A point is looked at through seven views:
 *   level           its distance from a slow mean
 *   jump            its distance from the point before
 *   smoothed        the distance of a fast mean from the slow one
 *   seasonal        its distance from what this time of day had on the days before
 *   smoothed_season the fast mean of that
 *   variance        how restless the last points are against the usual, in powers of two
 *   stuck           how long the value has not changed
 * Each signed view keeps the largest deviation that it ever had, up and down, which fades with a
 * half-life, and its usual size. A deviation above its own record is unusual whatever the
 * distribution: in a series that goes on as it was, records become rare by themselves (the n-th
 * point is one with probability 1/n). So one threshold fits every metric, and no scale is needed.
 * The views' ratios to their records are joined as (sum r^8)^(1/8): the largest counts, and several
 * near their records count for a little more than one.
 *
 * TIME. A record fades by half over 10,000 points or 14 days, whichever is longer: 14 days of
 * points every 15 s, 34 days of points every 5 min. The more points a day, the more chances chance
 * has, so the score is divided by 1 + 0.04 ln(points a day / 288) when there are more than 288.
 * After an alarm the series rests (what happened is told; a score 1.5 times as high tells again).
 *
 * INVARIANTS. The score of a point depends on it and those before it. Adding a number to all values
 * or multiplying them by one changes no alarm (nor a bit of a score for a power of two). Values that
 * are no finite numbers are skipped; time stamps may repeat, jump and go back.
 *
 * A struct detect is plain memory, without pointers. Does not allocate and cannot fail. */
#ifndef BASE_DETECT_H
#define BASE_DETECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum detect_view {
    DETECT_LEVEL,
    DETECT_JUMP,
    DETECT_SMOOTHED,
    DETECT_SEASONAL,
    DETECT_SMOOTHED_SEASON,
    DETECT_VARIANCE,
    DETECT_STUCK,
    DETECT_VIEWS
};

enum {
    DETECT_SLOTS = 96,      /* of a day: 15 min each */
    DETECT_ALL_VIEWS = 127, /* bits 1 << view */
    DETECT_UP = 1,          /* deviations that count */
    DETECT_DOWN = 2,
    DETECT_TEXT_BYTES = 1400, /* enough for any saved state, with NUL */
};

/* What an operator may tune; detect_defaults fills in what is shipped. */
struct detect_settings {
    double half_life_points; /* of a record: the longer of the two */
    double half_life_s;
    double warm_up;      /* points before the first alarm */
    double rest_points;  /* silence after an alarm: this many */
    double rest_share;   /* and this share of the points so far */
    double rest_most;    /* at most; in points */
    double again;        /* a score this many times the alarm's ends the rest */
    double strictness;   /* scores are divided by it */
    double least_effect; /* in the unit of the values: smaller deviations are no alarm */
    uint32_t directions; /* DETECT_UP, DETECT_DOWN; variance and stuck have none: only with both */
    uint32_t views;      /* bits of those that are used */
};

struct detect_record {
    double most[2]; /* largest deviation down and up, fading */
    double size;    /* usual absolute deviation */
};

/* Learning state of one series; all zeros before the first point. Values are kept as distances from
 * the first one, in a unit that the first change gives. */
struct detect {
    double count;       /* points seen */
    double first, unit; /* unit: a power of two, 0 until something changes */
    double last, last_at_s, step_s;
    double slow, fast, range; /* range: fading largest distance from the slow mean */
    double variance, log_usual;
    double season_fast, season_count, slot_sum, slot_points;
    double run, run_most, changes; /* of unchanged values */
    double chances;                /* divisor of the score, from the step */
    double rest, alarm;            /* points left, score of the last alarm */
    struct detect_record records[DETECT_STUCK];
    float profile[DETECT_SLOTS];
    uint8_t visits[DETECT_SLOTS];
    int32_t slot; /* 1 + the slot under way, 0 = none */
    int32_t spare;
};

void detect_defaults(struct detect_settings *ret_settings);
/* The state before the first point. */
void detect_init(struct detect *d);
/* Takes a point and returns its score: 1 or more is an alarm, below it while resting or warming up.
 * 0 for what is no finite number. *ret_view (may be NULL) is the view with the largest part. */
double detect_push(struct detect *d, const struct detect_settings *s, double at_s, double value,
                   enum detect_view *ret_view);
/* What the series usually is now: its slow mean; NaN before the first point. */
double detect_usual(const struct detect *d);
/* "level", "smoothed_season", ...; static storage. */
const char *detect_view_name(enum detect_view view);

/* The state as one line of text: version, checksum, base64. Returns its length. */
size_t detect_save(const struct detect *d, char ret_text[DETECT_TEXT_BYTES]);
/* 0, or -EINVAL when `text` is not what this version saved: *ret_state is untouched then. */
int detect_restore(const char *text, struct detect *ret_state);

#endif
