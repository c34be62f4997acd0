/* A block of frames that Python gave: an array of the right dtype and shape, of any strides. */
#ifndef LOCKEDARRAY_BLOCK_H
#define LOCKEDARRAY_BLOCK_H

#include "frames.h"
#include "objects.h"

struct block_format {
    const char *owner; /* for messages: "ring" */
    PyArray_Descr *descr;
    size_t channels, item_bytes;
    bool columns; /* blocks are (n, channels) */
};

struct block {
    struct frames at;
    size_t frames;
};

/* Both raise. */
void block_refuse_type(const struct block_format *format, PyObject *object, const char *name);
void block_refuse_shape(const struct block_format *format, PyArrayObject *array, const char *name);

/* -1 and an exception, or 0. In each hot path. */
static inline int block_open(const struct block_format *format, PyObject *object, const char *name, struct block *block)
{
    PyArrayObject *array = (PyArrayObject *)object;
    if (!PyArray_Check(object) ||
        (PyArray_DESCR(array) != format->descr && !PyArray_EquivTypes(PyArray_DESCR(array), format->descr))) {
        block_refuse_type(format, object, name);
        return -1;
    }
    int axes = PyArray_NDIM(array);
    bool flat = axes == 1 && (!format->columns || format->channels == 1);
    bool wide = axes == 2 && format->columns && (size_t)PyArray_DIM(array, 1) == format->channels;
    if (!flat && !wide) {
        block_refuse_shape(format, array, name);
        return -1;
    }
    block->frames = (size_t)PyArray_DIM(array, 0);
    block->at.at = PyArray_BYTES(array);
    block->at.frame_stride = PyArray_STRIDE(array, 0);
    block->at.channel_stride =
        wide && format->channels > 1 ? PyArray_STRIDE(array, 1) : (ptrdiff_t)format->item_bytes;
    return 0;
}

#endif
