/* chance.c: a small generator of random numbers, the same on every machine: splitmix64 (public domain). */
#include <math.h>

#include "sim/private.h"
#include "base/ban.h"

static uint64_t next(struct chance *c)
{
    uint64_t z = (c->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double chance_uniform(struct chance *c)
{
    return ((double)(next(c) >> 11) + 0.5) / 9007199254740992.0;
}

/* Box and Muller. */
double chance_normal(struct chance *c)
{
    double radius = sqrt(-2 * log(chance_uniform(c)));
    return radius * cos(6.283185307179586 * chance_uniform(c));
}

double chance_poisson(struct chance *c, double mean)
{
    if (mean > 50) { /* the normal distribution is near enough */
        double n = floor(mean + sqrt(mean) * chance_normal(c) + 0.5);
        return n > 0 ? n : 0;
    }
    double product = chance_uniform(c), least = exp(-mean);
    double n = 0;
    while (product > least) {
        product *= chance_uniform(c);
        n++;
    }
    return n;
}
