/* Blocks of frames into a ring and out of it. Every call keeps the GIL: giving it up and getting it back can take a
   switch interval. None makes a system call, but to wake a sleeper, or to look after another process where it got less
   than it wanted; and only ring_read allocates. */
#include "arguments.h"
#include "block.h"
#include "ring_objects.h"

#include <string.h>

static int open_block(const struct ring_object *self, PyObject *object, const char *name, struct block *block)
{
    struct block_format format = {"ring", self->descr, self->format.channels, self->format.item_bytes, self->columns};
    return block_open(&format, object, name, block);
}

static bool lies_in_a_row(const struct ring_object *self, const struct block *block)
{
    return block->at.frame_stride == (ptrdiff_t)self->format.frame_bytes &&
           block->at.channel_stride == (ptrdiff_t)self->format.item_bytes;
}

/* write(block, *, drop=False) */

static size_t write_frames(struct ring_object *self, const struct block *block, size_t most)
{
    struct la_ring *ring = self->ring;
    size_t frames = block->frames < most ? block->frames : most;
    char *to = ring->data + ring->writer.position;
    if (lies_in_a_row(self, block))
        memmove(to, block->at.at, frames * self->format.frame_bytes);
    else
        frames_gather(to, &block->at, frames, &self->format);
    ring->writer.window = 0;
    la_ring_commit(ring, frames);
    return frames;
}

static PyObject *write_block(PyObject *object, PyObject *block_object, bool drop)
{
    struct ring_object *self = ring_object_of(object);
    struct block block;
    if (open_block(self, block_object, "block", &block) < 0)
        return NULL;
    int64_t writable = ring_room(self->ring, block.frames);
    if (writable < 0)
        return ring_raise(writable);
    size_t taken = write_frames(self, &block, (size_t)writable);
    if (drop && taken < block.frames)
        la_ring_lose(self->ring, block.frames - taken);
    return ring_number(&self->taken, taken);
}

PyObject *ring_write(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static const struct signature signature = {"write()", 1, 1, 2, {"block", "drop"}};
    if (count == 1 && names == NULL)
        return write_block(self, args[0], false);
    PyObject *values[2] = {NULL, NULL};
    if (arguments_from_vector(&signature, values, args, count, names) < 0)
        return NULL;
    int drop = values[1] == NULL ? 0 : PyObject_IsTrue(values[1]);
    return drop < 0 ? NULL : write_block(self, values[0], drop);
}

/* read_into(out, *, fill=None) */

static void read_frames(struct ring_object *self, const struct block *out, size_t frames)
{
    struct la_ring *ring = self->ring;
    const char *from = ring->data + ring->reader.position;
    if (lies_in_a_row(self, out))
        memmove(out->at.at, from, frames * self->format.frame_bytes);
    else
        frames_scatter(&out->at, from, frames, &self->format);
    ring->reader.window = 0;
    la_ring_consume(ring, frames);
}

static int out_open(const struct ring_object *self, PyObject *out, struct block *block)
{
    if (open_block(self, out, "out", block) < 0)
        return -1;
    return PyArray_FailUnlessWriteable((PyArrayObject *)out, "out");
}

static PyObject *read_block(PyObject *object, PyObject *out, const void *fill)
{
    struct ring_object *self = ring_object_of(object);
    struct la_ring *ring = self->ring;
    struct block block;
    if (out_open(self, out, &block) < 0)
        return NULL;
    bool closed;
    int64_t readable = ring_supply(self->ring, block.frames, &closed);
    if (readable < 0)
        return ring_raise(readable);
    size_t frames = block.frames < (size_t)readable ? block.frames : (size_t)readable;
    read_frames(self, &block, frames);
    if (fill != NULL && frames < block.frames) {
        size_t missed = block.frames - frames;
        block.at.at += (ptrdiff_t)frames * block.at.frame_stride;
        frames_fill(&block.at, fill, missed, &self->format);
        if (!closed) /* what follows the end is no loss */
            la_ring_miss(ring, missed);
    }
    return ring_number(&self->got, frames);
}

/* Making an item of a number runs NumPy's code and perhaps Python's: first of all, while nothing has been read. */
static PyObject *read_and_fill(PyObject *object, PyObject *out, PyObject *fill)
{
    struct ring_object *self = ring_object_of(object);
    struct block block;
    _Alignas(16) char small[256];
    if (out_open(self, out, &block) < 0)
        return NULL;
    char *item = self->format.item_bytes <= sizeof small ? small : PyMem_Malloc(self->format.item_bytes);
    if (item == NULL)
        return PyErr_NoMemory();
    memset(item, 0, self->format.item_bytes);
    PyObject *frames = NULL;
    if (PyArray_Pack(self->descr, item, fill) == 0)
        frames = read_block(object, out, item);
    if (item != small)
        PyMem_Free(item);
    return frames;
}

PyObject *ring_read_into(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static const struct signature signature = {"read_into()", 1, 1, 2, {"out", "fill"}};
    if (count == 1 && names == NULL)
        return read_block(self, args[0], NULL);
    PyObject *values[2] = {NULL, NULL};
    if (arguments_from_vector(&signature, values, args, count, names) < 0)
        return NULL;
    if (values[1] == NULL || values[1] == Py_None)
        return read_block(self, values[0], NULL);
    return read_and_fill(self, values[0], values[1]);
}

/* read(n) */

PyObject *ring_new_block(struct ring_object *self, size_t frames, char *data, bool writable)
{
    npy_intp shape[] = {(npy_intp)frames, (npy_intp)self->format.channels};
    /* Given, for NumPy gives the strides of an empty array as it likes. */
    npy_intp strides[] = {(npy_intp)self->format.frame_bytes, (npy_intp)self->format.item_bytes};
    Py_INCREF((PyObject *)self->descr);
    PyObject *block = PyArray_NewFromDescr(&PyArray_Type, self->descr, self->columns ? 2 : 1, shape,
                                           data == NULL ? NULL : strides, data,
                                           data != NULL && writable ? NPY_ARRAY_WRITEABLE : 0, NULL);
    if (block != NULL && data != NULL &&
        PyArray_SetBaseObject((PyArrayObject *)block, Py_NewRef(self->region)) < 0)
        Py_CLEAR(block);
    return block;
}

PyObject *ring_read(PyObject *object, PyObject *n)
{
    struct ring_object *self = ring_object_of(object);
    size_t wanted;
    bool closed;
    if (ring_take_count(n, "n", &wanted) < 0)
        return NULL;
    int64_t readable = ring_supply(self->ring, wanted, &closed);
    if (readable < 0)
        return ring_raise(readable);
    PyObject *block = ring_new_block(self, wanted < (size_t)readable ? wanted : (size_t)readable, NULL, true);
    PyObject *frames = block == NULL ? NULL : read_block(object, block, NULL);
    if (frames == NULL)
        Py_CLEAR(block);
    Py_XDECREF(frames);
    return block;
}
