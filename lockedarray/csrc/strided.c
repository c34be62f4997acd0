#include "strided.h"

#include <string.h>

static ptrdiff_t magnitude(ptrdiff_t value)
{
    return value < 0 ? -value : value;
}

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

void strided_init(struct strided *s, void *data, size_t itemsize, int axes, const ptrdiff_t *shape,
                  const ptrdiff_t *stride)
{
    s->at = data;
    s->itemsize = itemsize;
    s->axes = 0;
    for (int axis = 0; axis < axes; axis++) {
        if (shape[axis] == 1)
            continue;
        int outer = s->axes - 1;
        if (outer >= 0 && s->stride[outer] == shape[axis] * stride[axis]) {
            s->shape[outer] *= shape[axis];
            s->stride[outer] = stride[axis];
        } else {
            s->shape[s->axes] = shape[axis];
            s->stride[s->axes] = stride[axis];
            s->index[s->axes] = 0;
            s->axes++;
        }
    }
    if (s->axes == 0) { /* a single element is an axis of one, so that nobody need ask */
        s->axes = 1;
        s->shape[0] = 1;
        s->stride[0] = (ptrdiff_t)itemsize;
        s->index[0] = 0;
    }
}

bool strided_is_dense(const struct strided *s)
{
    return s->axes == 1 && s->stride[0] == (ptrdiff_t)s->itemsize && (uintptr_t)s->at % s->itemsize == 0;
}

/* The bytes from the lowest to past the highest. */
static void extent(const struct strided *s, uintptr_t *low, uintptr_t *high)
{
    *low = (uintptr_t)s->at;
    *high = *low + s->itemsize;
    for (int axis = 0; axis < s->axes; axis++) {
        ptrdiff_t reach = (s->shape[axis] - 1) * s->stride[axis];
        *(reach < 0 ? low : high) += (uintptr_t)reach;
    }
}

static size_t common_divisor(size_t divisor, const struct strided *s)
{
    for (int axis = 0; axis < s->axes; axis++) {
        size_t rest = (size_t)magnitude(s->stride[axis]);
        while (rest != 0) {
            size_t next = divisor % rest;
            divisor = rest;
            rest = next;
        }
    }
    return divisor;
}

/* Two channels of one interleaved block lie within each other's bounds and share nothing: modulo what divides all
   strides, each array is one element. */
static bool apart(const struct strided *a, const struct strided *b)
{
    uintptr_t a_low, a_high, b_low, b_high;
    extent(a, &a_low, &a_high);
    extent(b, &b_low, &b_high);
    if (a_high <= b_low || b_high <= a_low)
        return true;
    size_t period = common_divisor(common_divisor(0, a), b);
    if (period == 0) /* every stride is 0: one element each, and they overlap */
        return false;
    size_t distance = b_low >= a_low ? (b_low - a_low) % period : (period - (a_low - b_low) % period) % period;
    return distance >= a->itemsize && distance + b->itemsize <= period;
}

static bool same_layout(const struct strided *a, const struct strided *b)
{
    size_t bytes = (size_t)a->axes * sizeof a->shape[0];
    return a->at == b->at && a->itemsize == b->itemsize && a->axes == b->axes &&
           memcmp(a->shape, b->shape, bytes) == 0 && memcmp(a->stride, b->stride, bytes) == 0;
}

/* Does each axis, in one order or the other, step over all that the axes before it reach? Then no two elements share a
   byte. */
static bool elements_apart(const struct strided *s, int from, int step)
{
    ptrdiff_t reach = (ptrdiff_t)s->itemsize;
    for (int axis = from; axis >= 0 && axis < s->axes; axis += step) {
        ptrdiff_t stride = magnitude(s->stride[axis]);
        if (stride < reach)
            return false;
        reach += (s->shape[axis] - 1) * stride;
    }
    return true;
}

bool strided_is_safe(const struct strided *reading, const struct strided *writing)
{
    if (apart(reading, writing))
        return true;
    return same_layout(reading, writing) &&
           (elements_apart(writing, writing->axes - 1, -1) || elements_apart(writing, 0, 1));
}

/* How many elements of those wanted lie in the innermost axis from here on. */
static ptrdiff_t run(const struct strided *s, ptrdiff_t wanted)
{
    int inner = s->axes - 1;
    return smaller(wanted, s->shape[inner] - s->index[inner]);
}

/* Step over a run. After the last element the first is next, so that a position is always in bounds. */
static void step_over(struct strided *s, ptrdiff_t count)
{
    int axis = s->axes - 1;
    s->index[axis] += count;
    s->at += count * s->stride[axis];
    while (s->index[axis] == s->shape[axis]) {
        s->at -= s->shape[axis] * s->stride[axis];
        s->index[axis] = 0;
        if (axis-- == 0)
            return;
        s->index[axis]++;
        s->at += s->stride[axis];
    }
}

/* memcpy: an array need not be aligned. The contiguous loop is apart because the compiler makes vectors of it. */
#define ELEMENT(name, type)                                                                                            \
    static void load_##name(const char *at, ptrdiff_t stride, double *to, ptrdiff_t count)                             \
    {                                                                                                                  \
        type value;                                                                                                    \
        if (stride == (ptrdiff_t)sizeof value) {                                                                       \
            for (ptrdiff_t k = 0; k < count; k++) {                                                                    \
                memcpy(&value, at + k * (ptrdiff_t)sizeof value, sizeof value);                                        \
                to[k] = (double)value;                                                                                 \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (ptrdiff_t k = 0; k < count; k++) {                                                                        \
            memcpy(&value, at + k * stride, sizeof value);                                                             \
            to[k] = (double)value;                                                                                     \
        }                                                                                                              \
    }
STRIDED_ELEMENTS(ELEMENT)
#undef ELEMENT

static void (*const loads[])(const char *, ptrdiff_t, double *, ptrdiff_t) = {
#define ELEMENT(name, type) [ELEMENT_##name] = load_##name,
    STRIDED_ELEMENTS(ELEMENT)
#undef ELEMENT
};

void strided_load(struct strided *s, enum element element, double *to, ptrdiff_t count)
{
    while (count > 0) {
        ptrdiff_t now = run(s, count);
        loads[element](s->at, s->stride[s->axes - 1], to, now);
        step_over(s, now);
        to += now;
        count -= now;
    }
}

static void store_run(char *at, ptrdiff_t stride, const char *from, size_t itemsize, ptrdiff_t count)
{
    if (itemsize == sizeof(float)) {
        for (ptrdiff_t k = 0; k < count; k++)
            memcpy(at + k * stride, from + k * (ptrdiff_t)sizeof(float), sizeof(float));
    } else {
        for (ptrdiff_t k = 0; k < count; k++)
            memcpy(at + k * stride, from + k * (ptrdiff_t)sizeof(double), sizeof(double));
    }
}

void strided_store(struct strided *s, const void *from, ptrdiff_t count)
{
    const char *source = from;
    while (count > 0) {
        ptrdiff_t now = run(s, count);
        store_run(s->at, s->stride[s->axes - 1], source, s->itemsize, now);
        step_over(s, now);
        source += now * (ptrdiff_t)s->itemsize;
        count -= now;
    }
}

void strided_skip(struct strided *s, ptrdiff_t count)
{
    while (count > 0) {
        ptrdiff_t now = run(s, count);
        step_over(s, now);
        count -= now;
    }
}
