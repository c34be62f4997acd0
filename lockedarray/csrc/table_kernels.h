/* From a located frame to its values, for one type of value: included once for each, with
   VALUE     the type
   NAN_VALUE the one NaN that comes out, so that not even its bits depend on the CPU
   KERNEL(x) the name of a function for that type.
   The order of operations is part of the interface: each is rounded, and none is fused (-ffp-contract=off). */

static inline VALUE KERNEL(settle)(VALUE value)
{
    return value == value ? value : NAN_VALUE;
}

/* Each of these is also compiled for one channel, where the loop over channels is gone. */
static inline __attribute__((always_inline)) void KERNEL(nearest_of)(const struct table *t, const struct located *at,
                                                                     const struct part *part, ptrdiff_t channels,
                                                                     ptrdiff_t width, VALUE *restrict out)
{
    const VALUE *values = (const VALUE *)t->values + part->channel;
    for (ptrdiff_t k = part->frame; k < part->frame + part->frames; k++) {
        const VALUE *here = values + (ptrdiff_t)at->row[k] * channels;
        bool known = at->rest[k] == at->rest[k];
        for (ptrdiff_t c = 0; c < width; c++)
            *out++ = known ? KERNEL(settle)(here[c]) : NAN_VALUE;
    }
}

static inline __attribute__((always_inline)) void KERNEL(linear_of)(const struct table *t, const struct located *at,
                                                                    const struct part *part, ptrdiff_t channels,
                                                                    ptrdiff_t width, VALUE *restrict out)
{
    const VALUE *values = (const VALUE *)t->values + part->channel;
    const ptrdiff_t last = t->last, after = t->after;
    for (ptrdiff_t k = part->frame; k < part->frame + part->frames; k++) {
        ptrdiff_t row = (ptrdiff_t)at->row[k];
        const VALUE *here = values + row * channels;
        const VALUE *next = values + (row == last ? after : row + 1) * channels;
        VALUE f = (VALUE)at->rest[k];
        for (ptrdiff_t c = 0; c < width; c++)
            *out++ = KERNEL(settle)(here[c] + f * (next[c] - here[c]));
    }
}

static inline VALUE KERNEL(catmull_rom)(VALUE a, VALUE b, VALUE c, VALUE d, VALUE f)
{
    VALUE first = c - a;
    VALUE second = ((2 * a - 5 * b) + 4 * c) - d;
    VALUE third = (3 * (b - c) + d) - a;
    return b + ((VALUE)0.5 * f) * (first + f * (second + f * third));
}

static inline __attribute__((always_inline)) void KERNEL(cubic_of)(const struct table *t, const struct located *at,
                                                                   const struct part *part, ptrdiff_t channels,
                                                                   ptrdiff_t width, VALUE *restrict out)
{
    const VALUE *values = (const VALUE *)t->values + part->channel;
    const ptrdiff_t last = t->last, after = t->after, before = t->before;
    for (ptrdiff_t k = part->frame; k < part->frame + part->frames; k++) {
        ptrdiff_t row = (ptrdiff_t)at->row[k];
        ptrdiff_t next = row == last ? after : row + 1;
        const VALUE *a = values + (row == 0 ? before : row - 1) * channels;
        const VALUE *b = values + row * channels;
        const VALUE *c = values + next * channels;
        const VALUE *d = values + (next == last ? after : next + 1) * channels;
        VALUE f = (VALUE)at->rest[k];
        for (ptrdiff_t i = 0; i < width; i++)
            *out++ = KERNEL(settle)(KERNEL(catmull_rom)(a[i], b[i], c[i], d[i], f));
    }
}

#define COMPILE(interpolation)                                                                                         \
    static void KERNEL(interpolation)(const struct table *t, const struct located *at, const struct part *part,        \
                                      void *out)                                                                       \
    {                                                                                                                  \
        if (t->channels == 1)                                                                                          \
            KERNEL(interpolation##_of)(t, at, part, 1, 1, out);                                                        \
        else                                                                                                           \
            KERNEL(interpolation##_of)(t, at, part, t->channels, part->channels, out);                                 \
    }
COMPILE(nearest)
COMPILE(linear)
COMPILE(cubic)
#undef COMPILE
