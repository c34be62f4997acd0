/* A lookup table: values at even distances, and what lies between them. */
#ifndef LOCKEDARRAY_TABLE_H
#define LOCKEDARRAY_TABLE_H

#include "strided.h"

enum interpolation { TABLE_NEAREST, TABLE_LINEAR, TABLE_CUBIC };

struct located;
struct part;

struct table {
    const void *values; /* rows of channels, C-contiguous; the owner's */
    bool doubles;       /* or floats */
    ptrdiff_t rows, channels;
    double start, stop;
    bool periodic;
    enum interpolation interpolation;

    /* What table_init makes of them. */
    double scale;               /* of x, to rows */
    double half;                /* added before rounding down: the nearest row is the one below p + 0.5 */
    ptrdiff_t last;             /* row */
    ptrdiff_t before, after;    /* the rows that stand before the first and after the last one */
    void (*locate)(const struct table *t, const double *x, ptrdiff_t frames, struct located *to);
    void (*interpolate)(const struct table *t, const struct located *at, const struct part *part, void *out);
};

/* From the first group of fields, the rest. False if start and stop span no axis: equal, or too close or too far apart
   for a finite distance between rows. */
bool table_init(struct table *t);

/* out = table(x), one frame for each x. */
void table_evaluate(const struct table *t, struct strided *x, enum element element, ptrdiff_t frames,
                    struct strided *out);

/* out = table(position + k * increment), or with the running sum of increments; returns the position after the
   frames, reduced to the first period. */
double table_sweep(const struct table *t, double position, double increment, ptrdiff_t frames, struct strided *out);
double table_sweep_each(const struct table *t, double position, struct strided *increments, enum element element,
                        ptrdiff_t frames, struct strided *out);

#endif
