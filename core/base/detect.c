/* detect.c: the record detector; detect.h says how it works.
 *
 * The constants are round numbers that nothing was fitted to: held against halves of public data,
 * each can be moved by half without the score falling by more than a few points. */
#include "base/detect.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/ban.h"

static const double SLOW = 1.0 / 500; /* gains of the means, a point */
static const double FAST = 1.0 / 16;
static const double CALM = 1.0 / 40;   /* of the variance */
static const double SIZE = 1.0 / 1000; /* of the usual deviation */
static const double SEASON = 1.0 / 5;  /* of the profile, a visit of the slot */
static const double CLIP = 3;          /* one deviation counts for at most so many usual ones */
static const double SHARE = 0.2;       /* of the usual deviation that a record must be passed by */
static const double FLOOR = 0.001;     /* of the range: what is smaller is rounding */
static const double BEARABLE = 288;    /* points a day, every 5 min */
static const double CHANCE = 0.04;
static const double NEWS = 1.001; /* a record passed by less, beside its fading, is no news */
static const double BELOW = 0.99; /* the highest score that is no alarm */
static const double HIGHEST = 1000;
static const double FARTHEST = 1e30; /* from the first value, in units: squares stay finite */
static const double LATEST_S = 1e15; /* time stamps beyond are no seconds */

enum {
    DAY_S = 86400,
    QUARTER_S = DAY_S / DETECT_SLOTS,
    SEASON_LEAST = 96,   /* points with a profile before the seasonal views speak */
    VARIANCE_LEAST = 30, /* points before the variance means something */
    RUN_LEAST = 20,      /* unchanged points, beside twice the longest run */
    GAP_STEPS = 8,       /* a silence of so many steps is a gap */
};

/* By how much a record must be passed. */
static const double PASSED[DETECT_VIEWS] = {
    [DETECT_LEVEL] = 1.1,
    [DETECT_JUMP] = 1.3,
    [DETECT_SMOOTHED] = 1.05,
    [DETECT_SEASONAL] = 1.2,
    [DETECT_SMOOTHED_SEASON] = 1.1,
    [DETECT_VARIANCE] = 2,
    [DETECT_STUCK] = 2,
};

/* One point under way. */
struct look {
    const struct detect_settings *s;
    double fade, floor;
    double sum;  /* of the eighth powers */
    double best; /* largest ratio */
    enum detect_view view;
    bool news; /* a record was passed */
};

void detect_defaults(struct detect_settings *ret_settings)
{
    *ret_settings = (struct detect_settings){
        .half_life_points = 10000,
        .half_life_s = 14 * DAY_S,
        .warm_up = 100,
        .rest_points = 60,
        .rest_share = 0.03,
        .rest_most = 240,
        .again = 1.5,
        .strictness = 1,
        .directions = DETECT_UP | DETECT_DOWN,
        .views = DETECT_ALL_VIEWS,
    };
}

void detect_init(struct detect *d)
{
    memset(d, 0, sizeof(*d));
}

/* The gain of a mean that is exact over its first points. */
static double gain(double usual, double count)
{
    return usual * (count + 1) < 1 ? 1 / (count + 1) : usual;
}

static void join(struct look *look, enum detect_view view, double ratio)
{
    ratio = ratio < HIGHEST ? ratio : HIGHEST;
    double square = ratio * ratio;
    square *= square;
    look->sum += square * square;
    if (ratio > look->best) {
        look->best = ratio;
        look->view = view;
    }
}

/* Holds a deviation against its record, then lets the record learn it. */
static void judge(struct look *look, struct detect_record *record, enum detect_view view, double u,
                  double count, double floor)
{
    int side = u > 0;
    double size = fabs(u);
    if (look->s->directions & (side ? DETECT_UP : DETECT_DOWN)) {
        double limit = PASSED[view] * record->most[side] + SHARE * record->size + floor;
        join(look, view, limit > 0 ? size / limit : 0);
        look->news |= size * look->fade > NEWS * record->most[side];
    }
    record->most[0] *= look->fade;
    record->most[1] *= look->fade;
    if (size > record->most[side]) {
        record->most[side] = size;
    }
    double most = CLIP * record->size;
    record->size += gain(SIZE, count) * ((most > 0 && size > most ? most : size) - record->size);
}

static bool uses(const struct look *look, enum detect_view view)
{
    return look->s->views >> view & 1;
}

static bool both(const struct detect_settings *s)
{
    return s->directions == (DETECT_UP | DETECT_DOWN);
}

/* The mean of the slot that ended goes into the profile; `slot` begins. */
static void next_slot(struct detect *d, int slot)
{
    if (d->slot && d->slot_points > 0) {
        int done = d->slot - 1;
        double mean = d->slot_sum / d->slot_points;
        d->profile[done] += (float)(gain(SEASON, d->visits[done]) * (mean - d->profile[done]));
        d->visits[done] += d->visits[done] < UINT8_MAX;
    }
    d->slot = slot + 1;
    d->slot_sum = d->slot_points = 0;
}

static void look_season(struct detect *d, struct look *look, double at_s, double z)
{
    int64_t quarter = (int64_t)(at_s / QUARTER_S);
    int slot = (int)(quarter % DETECT_SLOTS);
    if (slot + 1 != d->slot) {
        next_slot(d, slot);
    }
    d->slot_sum += z;
    d->slot_points++;
    if (!d->visits[slot]) {
        return;
    }
    struct look aside = *look;
    struct look *to = ++d->season_count < SEASON_LEAST ? &aside : look;
    double u = z - d->profile[slot];
    d->season_fast += gain(FAST, d->season_count) * (u - d->season_fast);
    if (uses(look, DETECT_SEASONAL)) {
        judge(to, &d->records[DETECT_SEASONAL], DETECT_SEASONAL, u, d->season_count, look->floor);
    }
    if (uses(look, DETECT_SMOOTHED_SEASON)) {
        judge(to, &d->records[DETECT_SMOOTHED_SEASON], DETECT_SMOOTHED_SEASON, d->season_fast,
              d->season_count, look->floor);
    }
}

/* log2 of a positive normal number, linear between powers of two (at most 0.09 too low). */
static double rough_log2(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return (double)bits / (1ull << 52) - 1023;
}

static void look_variance(struct detect *d, struct look *look, double z)
{
    double off = z - d->fast;
    d->variance += gain(CALM, d->count) * (off * off - d->variance);
    if (!(d->range > 0)) {
        return;
    }
    /* Half the logarithm: of the deviation, not of its square. */
    double now = rough_log2(d->variance + look->floor * look->floor + 1e-300) / 2;
    double u = now - d->log_usual;
    if (d->count > VARIANCE_LEAST) {
        judge(look, &d->records[DETECT_VARIANCE], DETECT_VARIANCE, u, d->count - VARIANCE_LEAST, 0);
    }
    d->log_usual += gain(SLOW, d->count - 1) * u;
}

/* Only in series whose value changes with most points is standing still unusual. */
static void look_stuck(struct detect *d, struct look *look, double z, bool gap)
{
    if (z == d->last && !gap) {
        d->run++;
        d->run_most *= look->fade;
        if (d->changes > d->count / 2) {
            join(look, DETECT_STUCK, d->run / (PASSED[DETECT_STUCK] * d->run_most + RUN_LEAST));
            look->news |= d->run > d->run_most;
        }
        return;
    }
    d->run_most = d->run > d->run_most ? d->run : d->run_most;
    d->run = 0;
    d->changes += z != d->last;
}

/* The usual step between points, and how much it takes off a score. */
static void learn_step(struct detect *d, double dt)
{
    if (!(d->step_s > 0)) {
        d->step_s = dt;
    } else if (dt > 0) {
        /* A gap says little of the step; but a step that was too small grows. */
        d->step_s +=
            dt < GAP_STEPS * d->step_s ? gain(0.01, d->count) * (dt - d->step_s) : 0.01 * d->step_s;
    }
    if (d->chances < 1 || ((uint64_t)d->count & 15) == 0) {
        double points = d->step_s > 0 ? DAY_S / d->step_s : 0;
        d->chances = points > BEARABLE ? 1 + CHANCE * log(points / BEARABLE) : 1;
    }
}

/* Through all views; `z` is at least the second point. */
static void look_at(struct detect *d, struct look *look, double at_s, double z, double dt)
{
    bool gap = dt > GAP_STEPS * d->step_s && d->count > GAP_STEPS;
    double off = z - d->slow, jump = gap ? 0 : z - d->last;
    if (uses(look, DETECT_LEVEL)) {
        judge(look, &d->records[DETECT_LEVEL], DETECT_LEVEL, off, d->count, look->floor);
    }
    if (uses(look, DETECT_JUMP)) {
        judge(look, &d->records[DETECT_JUMP], DETECT_JUMP, jump, d->count, look->floor);
    }
    d->slow += gain(SLOW, d->count) * off;
    d->fast += gain(FAST, d->count) * (z - d->fast);
    if (uses(look, DETECT_SMOOTHED)) {
        judge(look, &d->records[DETECT_SMOOTHED], DETECT_SMOOTHED, d->fast - d->slow, d->count,
              look->floor);
    }
    if (look->s->views & (1u << DETECT_SEASONAL | 1u << DETECT_SMOOTHED_SEASON)) {
        look_season(d, look, at_s, z);
    }
    if (uses(look, DETECT_VARIANCE) && both(look->s)) {
        look_variance(d, look, z);
    }
    if (uses(look, DETECT_STUCK) && both(look->s)) {
        look_stuck(d, look, z, gap);
    }
}

/* How far off a point is in a direction that counts; less than 0: in the other one. What only comes back
 * from a deviation that does not count jumps, but is not off. */
static double effect(const struct detect_settings *s, double off, double jump)
{
    return both(s) ? fmax(fabs(off), fabs(jump)) : s->directions & DETECT_UP ? off : -off;
}

/* The score of an alarm, or one below it: while warming up, resting, or when too little happened. */
static double settle(struct detect *d, const struct detect_settings *s, double score, double effect)
{
    double below = score < BELOW ? score : BELOW;
    bool resting = d->rest > 0;
    d->rest -= resting;
    if (score < 1 || d->count < s->warm_up || effect < s->least_effect ||
        (resting && score < s->again * d->alarm)) {
        return below;
    }
    d->alarm = score;
    d->rest = fmin(s->rest_points + s->rest_share * d->count, s->rest_most);
    d->run_most = d->run > d->run_most ? d->run : d->run_most;
    return score;
}

/* From the first value, in units. */
static double distance(struct detect *d, double value)
{
    double z = value - d->first;
    if (!(d->unit > 0) && z != 0) {
        int exponent;
        frexp(fmin(fabs(z), DBL_MAX), &exponent);
        d->unit = ldexp(1, exponent - 1);
    }
    return d->unit > 0 ? fmax(-FARTHEST, fmin(z / d->unit, FARTHEST)) : 0;
}

double detect_push(struct detect *d, const struct detect_settings *s, double at_s, double value,
                   enum detect_view *ret_view)
{
    if (!isfinite(value) || !(at_s >= 0 && at_s < LATEST_S)) {
        return 0;
    }
    if (d->count < 1) {
        d->first = value;
        d->last_at_s = at_s;
    }
    double z = distance(d, value), dt = at_s > d->last_at_s ? at_s - d->last_at_s : 0, score = 0;
    struct look look = {.s = s, .view = DETECT_LEVEL};
    if (d->count >= 1) {
        double halves = dt < s->half_life_s / s->half_life_points ? dt / s->half_life_s
                                                                  : 1 / s->half_life_points;
        look.fade = 1 - halves * M_LN2;
        double off = z - d->slow, jump = z - d->last;
        d->range = fmax(d->range * look.fade, fabs(off));
        look.floor = FLOOR * d->range;
        look_at(d, &look, at_s, z, dt);
        learn_step(d, dt);
        score = (double)sqrtf(sqrtf(sqrtf((float)look.sum))) / (d->chances * s->strictness);
        /* What stays as far off as it was is no news, in however many views. */
        score = look.news || score < BELOW ? score : BELOW;
        score = settle(d, s, score, effect(s, off, jump) * d->unit);
    }
    d->last = z;
    d->last_at_s = at_s;
    d->count++;
    if (ret_view) {
        *ret_view = look.view;
    }
    return score;
}

double detect_usual(const struct detect *d)
{
    return d->count < 1 ? (double)NAN : d->first + d->slow * d->unit;
}

const char *detect_view_name(enum detect_view view)
{
    static const char *const names[DETECT_VIEWS] = {
        [DETECT_LEVEL] = "level",
        [DETECT_JUMP] = "jump",
        [DETECT_SMOOTHED] = "smoothed",
        [DETECT_SEASONAL] = "seasonal",
        [DETECT_SMOOTHED_SEASON] = "smoothed_season",
        [DETECT_VARIANCE] = "variance",
        [DETECT_STUCK] = "stuck",
    };
    return names[view];
}
