/* Strided memory, read and written in the order of its indices: whatever an ndarray can be, in runs of one axis. */
#ifndef LOCKEDARRAY_STRIDED_H
#define LOCKEDARRAY_STRIDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRIDED_AXES 65 /* NumPy's 64, and one for channels */

/* Every real number that is read without a conversion by NumPy. */
#define STRIDED_ELEMENTS(ELEMENT)                                                                                      \
    ELEMENT(INT8, int8_t)                                                                                              \
    ELEMENT(UINT8, uint8_t)                                                                                            \
    ELEMENT(INT16, int16_t)                                                                                            \
    ELEMENT(UINT16, uint16_t)                                                                                          \
    ELEMENT(INT32, int32_t)                                                                                            \
    ELEMENT(UINT32, uint32_t)                                                                                          \
    ELEMENT(INT64, int64_t)                                                                                            \
    ELEMENT(UINT64, uint64_t)                                                                                          \
    ELEMENT(FLOAT, float)                                                                                              \
    ELEMENT(DOUBLE, double)                                                                                            \
    ELEMENT(LONG_DOUBLE, long double)

enum element {
#define ELEMENT(name, type) ELEMENT_##name,
    STRIDED_ELEMENTS(ELEMENT)
#undef ELEMENT
};

struct strided {
    char *at;     /* the next element */
    int axes;     /* of more than one element, those that follow each other in memory merged: 1 if contiguous */
    size_t itemsize;
    ptrdiff_t shape[STRIDED_AXES], stride[STRIDED_AXES], index[STRIDED_AXES];
};

/* No dimension may be 0. */
void strided_init(struct strided *s, void *data, size_t itemsize, int axes, const ptrdiff_t *shape,
                  const ptrdiff_t *stride);

/* Is all of it one run of elements, aligned to their size? */
bool strided_is_dense(const struct strided *s);

/* May one be written while the other is still to be read, each element after its own reading?
   False where that is not certain. Both stand at their first element. */
bool strided_is_safe(const struct strided *reading, const struct strided *writing);

/* Read or write the next elements; never more than there are. */
void strided_load(struct strided *s, enum element element, double *to, ptrdiff_t count);
void strided_store(struct strided *s, const void *from, ptrdiff_t count);
void strided_skip(struct strided *s, ptrdiff_t count);

#endif
