#include "table.h"

#include <math.h>

#define CHUNK 128 /* frames at a time: its buffers stay in the first-level cache, and on a small stack */
#define ROOM 256  /* values of a chunk that cannot be written in place */

/* Where a chunk's frames lie. Rows are whole numbers in double: the arithmetic on them is exact, and the baseline
   instruction set has vectors for it. */
struct located {
    double row[CHUNK];
    double rest[CHUNK]; /* of the position, above the row; NaN: nowhere */
};

/* Those frames and channels of a chunk that are wanted. */
struct part {
    ptrdiff_t frame, frames, channel, channels;
};

#define VALUE float
#define NAN_VALUE __builtin_nanf("")
#define KERNEL(name) name##_float
#include "table_kernels.h"
#undef VALUE
#undef NAN_VALUE
#undef KERNEL

#define VALUE double
#define NAN_VALUE __builtin_nan("")
#define KERNEL(name) name##_double
#include "table_kernels.h"
#undef VALUE
#undef NAN_VALUE
#undef KERNEL

/* Below this, x + 1.5 * 2^52 has no bits for a fraction: adding and subtracting it rounds to a whole number, in two
   operations that the baseline has vectors for, where floor() is a call. */
#define SMALL 0x1p51

static inline double small_floor(double x)
{
    const double shift = 0x1.8p52;
    double rounded = (x + shift) - shift;
    return rounded - (rounded > x ? 1.0 : 0.0);
}

static void locate_clamped(const struct table *t, const double *x, ptrdiff_t frames, struct located *to)
{
    const double start = t->start, scale = t->scale, half = t->half, last = (double)t->last;
    for (ptrdiff_t k = 0; k < frames; k++) {
        double p = (x[k] - start) * scale;
        double inside = p > 0 ? p : 0; /* NaN too: a row that exists */
        inside = inside < last ? inside : last;
        double row = small_floor(inside + half), rest = inside - row;
        to->row[k] = row;
        to->rest[k] = p == p ? rest : p;
    }
}

/* Up to SMALL the product errs by less than half of 1 / rows: it rounds down to the quotient, or of a multiple of rows
   perhaps to the one before, and the remainder tells. */
static inline double small_modulo(double row, double rows, double reciprocal)
{
    double rest = row - small_floor(row * reciprocal) * rows;
    return rest - (rest >= rows ? rows : 0.0);
}

static void locate_far(const double *p, double half, double rows, ptrdiff_t frames, struct located *to)
{
    for (ptrdiff_t k = 0; k < frames; k++) {
        if (!isfinite(p[k])) {
            to->row[k] = 0;
            to->rest[k] = NAN;
            continue;
        }
        double row = floor(p[k] + half);
        double rest = fmod(row, rows);
        to->row[k] = rest < 0 ? rest + rows : rest;
        to->rest[k] = p[k] - row;
    }
}

static void locate_periodic(const struct table *t, const double *x, ptrdiff_t frames, struct located *to)
{
    const double start = t->start, scale = t->scale, half = t->half;
    const double rows = (double)t->rows, reciprocal = 1 / rows;
    double p[CHUNK];
    int far = 0;
    for (ptrdiff_t k = 0; k < frames; k++) {
        p[k] = (x[k] - start) * scale + 0.0; /* -0.0 becomes 0.0, as where values clamp */
        far |= !(fabs(p[k]) < SMALL);
    }
    if (far) {
        locate_far(p, half, rows, frames, to);
        return;
    }
    for (ptrdiff_t k = 0; k < frames; k++) {
        double row = small_floor(p[k] + half);
        to->row[k] = small_modulo(row, rows, reciprocal);
        to->rest[k] = p[k] - row;
    }
}

bool table_init(struct table *t)
{
    static void (*const interpolate[][2])(const struct table *, const struct located *, const struct part *, void *) = {
        [TABLE_NEAREST] = {nearest_float, nearest_double},
        [TABLE_LINEAR] = {linear_float, linear_double},
        [TABLE_CUBIC] = {cubic_float, cubic_double},
    };
    t->last = t->rows - 1;
    t->before = t->periodic ? t->last : 0;
    t->after = t->periodic ? 0 : t->last;
    t->half = t->interpolation == TABLE_NEAREST ? 0.5 : 0;
    t->locate = t->periodic ? locate_periodic : locate_clamped;
    t->interpolate = interpolate[t->interpolation][t->doubles];
    /* One clamped point is at every x; a scale of 0 would make NaN of infinity. */
    ptrdiff_t steps = t->periodic ? t->rows : t->rows > 1 ? t->last : 1;
    double span = t->stop - t->start;
    t->scale = (double)steps / span;
    return isfinite(t->start) && isfinite(t->stop) && isfinite(span) && span != 0 && isfinite(t->scale);
}

/* Write a chunk's values. */
static void emit(const struct table *t, const struct located *at, ptrdiff_t frames, bool dense, struct strided *out)
{
    double buffer[ROOM]; /* of floats or doubles */
    if (dense) {
        struct part all = {0, frames, 0, t->channels};
        t->interpolate(t, at, &all, out->at);
        strided_skip(out, frames * t->channels);
        return;
    }
    ptrdiff_t width = t->channels < ROOM ? t->channels : ROOM, group = ROOM / width;
    struct part part;
    for (part.frame = 0; part.frame < frames; part.frame += part.frames) {
        part.frames = frames - part.frame < group ? frames - part.frame : group;
        for (part.channel = 0; part.channel < t->channels; part.channel += part.channels) {
            part.channels = t->channels - part.channel < width ? t->channels - part.channel : width;
            t->interpolate(t, at, &part, buffer);
            strided_store(out, buffer, part.frames * part.channels);
        }
    }
}

void table_evaluate(const struct table *t, struct strided *x, enum element element, ptrdiff_t frames,
                    struct strided *out)
{
    double positions[CHUNK];
    struct located at;
    bool dense = strided_is_dense(out);
    for (ptrdiff_t done = 0, now; done < frames; done += now) {
        now = frames - done < CHUNK ? frames - done : CHUNK;
        strided_load(x, element, positions, now);
        t->locate(t, positions, now, &at);
        emit(t, &at, now, dense, out);
    }
}

/* The position in the first period; in a table that does not repeat, where it is. */
static double reduced(const struct table *t, double position)
{
    if (!t->periodic)
        return position;
    double span = t->stop - t->start;
    double rest = fmod(position - t->start, span);
    if (rest != 0 && (rest < 0) != (span < 0))
        rest += span;
    double inside = t->start + rest; /* a rest too close to the span to tell rounds to stop */
    return (span < 0 ? inside <= t->stop : inside >= t->stop) ? t->start : inside;
}

double table_sweep(const struct table *t, double position, double increment, ptrdiff_t frames, struct strided *out)
{
    double positions[CHUNK];
    struct located at;
    bool dense = frames > 0 && strided_is_dense(out);
    for (ptrdiff_t done = 0, now; done < frames; done += now) {
        now = frames - done < CHUNK ? frames - done : CHUNK;
        for (ptrdiff_t k = 0; k < now; k++)
            positions[k] = position + (double)(done + k) * increment;
        t->locate(t, positions, now, &at);
        emit(t, &at, now, dense, out);
    }
    return reduced(t, position + (double)frames * increment);
}

double table_sweep_each(const struct table *t, double position, struct strided *increments, enum element element,
                        ptrdiff_t frames, struct strided *out)
{
    double steps[CHUNK], positions[CHUNK];
    struct located at;
    bool dense = frames > 0 && strided_is_dense(out);
    for (ptrdiff_t done = 0, now; done < frames; done += now) {
        now = frames - done < CHUNK ? frames - done : CHUNK;
        strided_load(increments, element, steps, now);
        for (ptrdiff_t k = 0; k < now; k++) {
            positions[k] = position;
            position += steps[k];
        }
        t->locate(t, positions, now, &at);
        emit(t, &at, now, dense, out);
    }
    return reduced(t, position);
}
