/* The grid of a periodic loop: deadline k lies at t0 + round(k * seconds * 1e9) ns. */
#include <math.h>
#include <stdint.h>

#include "os.h"

#include "cdef.h"

/* Evaluated in Python's order, from k each time: nothing adds up. A product is at most half a unit in its last place
   off, and rounds half to even as Python's round does; beyond 2**53 it has no fraction left to round. */
int64_t deadline_at(int64_t t0, double seconds, int64_t k)
{
    double offset = rint((double)k * seconds * 1e9);
    return offset < (double)(INT64_MAX - t0) ? t0 + (int64_t)offset : INT64_MAX;
}

/* The first of deadlines k, k + 1, ... that has not passed. The guess is off by rounding only, so that a few steps
   correct it: no loop counts what was missed. */
int64_t deadline_next(int64_t t0, double seconds, int64_t k, int64_t now)
{
    if (deadline_at(t0, seconds, k) >= now)
        return k;
    int64_t next = (int64_t)((double)(now - t0) / (seconds * 1e9));
    if (next < k)
        next = k;
    while (next > k && deadline_at(t0, seconds, next - 1) >= now)
        next--;
    while (deadline_at(t0, seconds, next) < now)
        next++;
    return next;
}
