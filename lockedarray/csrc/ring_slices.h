/* A wait in slices: Python's signals are looked at between them. */
#ifndef LOCKEDARRAY_RING_SLICES_H
#define LOCKEDARRAY_RING_SLICES_H

#include <lockedarray/ring.h>

/* ns from one look at Python's signals to the next. A signal that comes when the GIL has been given up, and before the
   futex is slept on, interrupts no sleep: its handler in C has left a note for Python's, and returned. */
#define RING_SLICE INT64_C(20000000)

/* The moment that comes so many seconds from now; not a negative number, nor NaN. */
static inline int64_t ring_moment_in(double seconds)
{
    int64_t now = la_ring_now();
    return seconds * 1e9 < (double)(LA_RING_FOREVER - now) ? now + (int64_t)(seconds * 1e9) : LA_RING_FOREVER;
}

/* Where the slice ends that begins now. */
static inline int64_t ring_slice_end(int64_t until)
{
    int64_t now = la_ring_now();
    return until - now > RING_SLICE ? now + RING_SLICE : until;
}

#endif
