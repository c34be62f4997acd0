/* _native.Ring: the ring as Python sees it. Every call keeps the GIL: giving it up and getting it back can take a
   switch interval. Nothing here makes a system call once the ring is made. */
#include "arguments.h"
#include "frames.h"
#include "pool_objects.h"
#include "region_objects.h"
#include "ring.h"
#include "ring_docs.h"

#include <string.h>

struct ring_object {
    PyObject_HEAD
    struct ring *ring;
    PyObject *region; /* the memory; also the base of every window */
    PyArray_Descr *descr;
    struct frame_format format;
    bool columns; /* blocks are (n, channels) */
};

static PyTypeObject *ring_type;

static struct ring_object *object_of(PyObject *self)
{
    return (struct ring_object *)self;
}

static PyObject *raise_corrupted(void)
{
    PyErr_SetString(errors.ring_corrupted, "the indices in the ring's shared header cannot be: more frames than its "
                                           "capacity lie between them; somebody else has written to this memory");
    return NULL;
}

static PyObject *raise_closed(void)
{
    PyErr_SetString(PyExc_BrokenPipeError, "the ring is closed: nothing more can be written to it");
    return NULL;
}

/* Blocks. */

struct block {
    struct frames at;
    size_t frames;
};

static bool same_dtype(const struct ring_object *self, PyArrayObject *array)
{
    return PyArray_DESCR(array) == self->descr || PyArray_EquivTypes(PyArray_DESCR(array), self->descr);
}

static int refuse_shape(const struct ring_object *self, PyArrayObject *array, const char *name)
{
    PyObject *shape = PyArray_IntTupleFromIntp(PyArray_NDIM(array), PyArray_DIMS(array));
    if (shape != NULL && !self->columns)
        PyErr_Format(PyExc_ValueError, "%s must have the shape (frames,), not %R", name, shape);
    else if (shape != NULL)
        PyErr_Format(PyExc_ValueError, "%s must have the shape (frames, %zd)%s, not %R", name, self->format.channels,
                     self->format.channels == 1 ? " or (frames,)" : "", shape);
    Py_XDECREF(shape);
    return -1;
}

static int block_open(const struct ring_object *self, PyObject *object, const char *name, struct block *block)
{
    if (!PyArray_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be a numpy.ndarray of %S, not %R", name, (PyObject *)self->descr,
                     (PyObject *)Py_TYPE(object));
        return -1;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    if (!same_dtype(self, array)) {
        PyErr_Format(PyExc_TypeError, "%s must have the ring's dtype, %S, not %S", name, (PyObject *)self->descr,
                     (PyObject *)PyArray_DESCR(array));
        return -1;
    }
    int axes = PyArray_NDIM(array);
    bool flat = axes == 1 && (!self->columns || self->format.channels == 1);
    bool wide = axes == 2 && self->columns && (size_t)PyArray_DIM(array, 1) == self->format.channels;
    if (!flat && !wide)
        return refuse_shape(self, array, name);
    block->frames = (size_t)PyArray_DIM(array, 0);
    block->at.at = PyArray_BYTES(array);
    block->at.frame_stride = PyArray_STRIDE(array, 0);
    block->at.channel_stride = wide && self->format.channels > 1 ? PyArray_STRIDE(array, 1)
                                                                 : (ptrdiff_t)self->format.item_bytes;
    return 0;
}

static bool lies_in_a_row(const struct ring_object *self, const struct block *block)
{
    return block->at.frame_stride == (ptrdiff_t)self->format.frame_bytes &&
           block->at.channel_stride == (ptrdiff_t)self->format.item_bytes;
}

/* write(block, *, drop=False) */

static size_t write_frames(struct ring_object *self, const struct block *block, size_t most)
{
    struct ring *ring = self->ring;
    size_t frames = block->frames < most ? block->frames : most;
    char *to = ring->data + ring->writer.position;
    if (lies_in_a_row(self, block))
        memmove(to, block->at.at, frames * self->format.frame_bytes);
    else
        frames_gather(to, &block->at, frames, &self->format);
    ring->writer.window = 0;
    ring_advance_writer(ring, frames);
    return frames;
}

static PyObject *write_block(PyObject *object, PyObject *block_object, bool drop)
{
    struct ring_object *self = object_of(object);
    struct block block;
    if (block_open(self, block_object, "block", &block) < 0)
        return NULL;
    if (ring_is_closed(self->ring))
        return raise_closed();
    int64_t writable = ring_writable(self->ring, block.frames);
    if (writable < 0)
        return raise_corrupted();
    size_t taken = write_frames(self, &block, (size_t)writable);
    if (drop && taken < block.frames)
        ring_count(&self->ring->shared->overruns, &self->ring->shared->frames_lost, block.frames - taken);
    return PyLong_FromSize_t(taken);
}

static PyObject *ring_write(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
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
    struct ring *ring = self->ring;
    const char *from = ring->data + ring->reader.position;
    if (lies_in_a_row(self, out))
        memmove(out->at.at, from, frames * self->format.frame_bytes);
    else
        frames_scatter(&out->at, from, frames, &self->format);
    ring->reader.window = 0;
    ring_advance_reader(ring, frames);
}

static int out_open(const struct ring_object *self, PyObject *out, struct block *block)
{
    if (block_open(self, out, "out", block) < 0)
        return -1;
    return PyArray_FailUnlessWriteable((PyArrayObject *)out, "out");
}

static PyObject *read_block(PyObject *object, PyObject *out, const void *fill)
{
    struct ring_object *self = object_of(object);
    struct ring *ring = self->ring;
    struct block block;
    if (out_open(self, out, &block) < 0)
        return NULL;
    /* Before the frames are looked for: what was written before the close must still be found. */
    bool closed = fill != NULL && ring_is_closed(ring);
    int64_t readable = ring_readable(ring, block.frames);
    if (readable < 0)
        return raise_corrupted();
    size_t frames = block.frames < (size_t)readable ? block.frames : (size_t)readable;
    read_frames(self, &block, frames);
    if (fill != NULL && frames < block.frames) {
        size_t missed = block.frames - frames;
        block.at.at += (ptrdiff_t)frames * block.at.frame_stride;
        frames_fill(&block.at, fill, missed, &self->format);
        if (!closed) /* what follows the end is no loss */
            ring_count(&ring->shared->underruns, &ring->shared->frames_missed, missed);
    }
    return PyLong_FromSize_t(frames);
}

/* Making an item of a number runs NumPy's code and perhaps Python's: first of all, while nothing has been read. */
static PyObject *read_and_fill(PyObject *object, PyObject *out, PyObject *fill)
{
    struct ring_object *self = object_of(object);
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

static PyObject *ring_read_into(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
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

/* read(n), windows */

static int take_count(PyObject *object, const char *name, size_t *count)
{
    Py_ssize_t value = PyNumber_AsSsize_t(object, PyExc_ValueError);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value < 0) {
        PyErr_Format(PyExc_ValueError, "%s must be a number of frames, not %zd", name, value);
        return -1;
    }
    *count = (size_t)value;
    return 0;
}

/* An array of so many frames; over `data`, if there is some, which then belongs to the region. */
static PyObject *new_block(struct ring_object *self, size_t frames, char *data, bool writable)
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

static PyObject *ring_read(PyObject *object, PyObject *n)
{
    struct ring_object *self = object_of(object);
    size_t wanted;
    if (take_count(n, "n", &wanted) < 0)
        return NULL;
    int64_t readable = ring_readable(self->ring, wanted);
    if (readable < 0)
        return raise_corrupted();
    PyObject *block = new_block(self, wanted < (size_t)readable ? wanted : (size_t)readable, NULL, true);
    PyObject *frames = block == NULL ? NULL : read_block(object, block, NULL);
    if (frames == NULL)
        Py_CLEAR(block);
    Py_XDECREF(frames);
    return block;
}

static PyObject *ring_write_window(PyObject *object, PyObject *n)
{
    struct ring_object *self = object_of(object);
    struct ring *ring = self->ring;
    size_t wanted;
    if (take_count(n, "n", &wanted) < 0)
        return NULL;
    if (ring_is_closed(ring))
        return raise_closed();
    int64_t writable = ring_writable(ring, wanted);
    if (writable < 0)
        return raise_corrupted();
    size_t frames = wanted < (size_t)writable ? wanted : (size_t)writable;
    PyObject *window = new_block(self, frames, ring->data + ring->writer.position, true);
    if (window != NULL)
        ring->writer.window = frames;
    return window;
}

static PyObject *ring_read_window(PyObject *object, PyObject *n)
{
    struct ring_object *self = object_of(object);
    struct ring *ring = self->ring;
    size_t wanted;
    if (take_count(n, "n", &wanted) < 0)
        return NULL;
    int64_t readable = ring_readable(ring, wanted);
    if (readable < 0)
        return raise_corrupted();
    size_t frames = wanted < (size_t)readable ? wanted : (size_t)readable;
    PyObject *window = new_block(self, frames, ring->data + ring->reader.position, false);
    if (window != NULL)
        ring->reader.window = frames;
    return window;
}

/* Take k frames off an open window. */
static int close_window(struct ring_side *side, PyObject *k, const char *window, size_t *frames)
{
    if (take_count(k, "k", frames) < 0)
        return -1;
    if (*frames > side->window) {
        PyErr_Format(PyExc_ValueError, "k is %zu, and the open %s has %zu frames", *frames, window,
                     (size_t)side->window);
        return -1;
    }
    side->window -= *frames;
    return 0;
}

static PyObject *ring_commit(PyObject *object, PyObject *k)
{
    struct ring *ring = object_of(object)->ring;
    size_t frames;
    if (ring_is_closed(ring))
        return raise_closed();
    if (close_window(&ring->writer, k, "write_window", &frames) < 0)
        return NULL;
    ring_advance_writer(ring, frames);
    Py_RETURN_NONE;
}

static PyObject *ring_consume(PyObject *object, PyObject *k)
{
    struct ring *ring = object_of(object)->ring;
    size_t frames;
    if (close_window(&ring->reader, k, "read_window", &frames) < 0)
        return NULL;
    ring_advance_reader(ring, frames);
    Py_RETURN_NONE;
}

static PyObject *ring_close_method(PyObject *object, PyObject *Py_UNUSED(none))
{
    ring_close(object_of(object)->ring);
    Py_RETURN_NONE;
}

/* Properties. */

static PyObject *held(PyObject *object, bool free)
{
    const struct ring *ring = object_of(object)->ring;
    int64_t frames = ring_held(ring);
    if (frames < 0)
        return raise_corrupted();
    return PyLong_FromUnsignedLongLong(free ? ring->capacity - (uint64_t)frames : (uint64_t)frames);
}

static PyObject *get_read_available(PyObject *self, void *Py_UNUSED(closure))
{
    return held(self, false);
}

static PyObject *get_write_available(PyObject *self, void *Py_UNUSED(closure))
{
    return held(self, true);
}

/* The closure of a counter's getter is its place in the shared page. Acquire: whoever sees that frames were written
   sees them, too. */
static PyObject *get_counter(PyObject *self, void *closure)
{
    char *at = (char *)object_of(self)->ring->shared + (uintptr_t)closure;
    return PyLong_FromUnsignedLongLong(atomic_load_explicit((_Atomic uint64_t *)(void *)at, memory_order_acquire));
}

static PyObject *get_capacity(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(object_of(self)->ring->capacity);
}

static PyObject *get_channels(PyObject *self, void *Py_UNUSED(closure))
{
    if (!object_of(self)->columns)
        Py_RETURN_NONE;
    return PyLong_FromSize_t(object_of(self)->format.channels);
}

static PyObject *get_dtype(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)object_of(self)->descr);
}

static PyObject *get_nbytes(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(mirror_bytes(object_of(self)->ring->data_bytes) / 2);
}

static PyObject *get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(ring_is_closed(object_of(self)->ring));
}

static PyObject *get_eof(PyObject *self, void *Py_UNUSED(closure))
{
    const struct ring *ring = object_of(self)->ring;
    if (!ring_is_closed(ring)) /* first: what was written before the close is then seen */
        Py_RETURN_FALSE;
    int64_t frames = ring_held(ring);
    return frames < 0 ? raise_corrupted() : PyBool_FromLong(frames == 0);
}

#define COUNTER(field, doc) {#field, get_counter, NULL, doc, (void *)offsetof(struct ring_shared, field)}

static PyGetSetDef getters[] = {
    {"capacity", get_capacity, NULL, "Frames that fit, all of them usable.", NULL},
    {"channels", get_channels, NULL, "Items of a frame, or None where blocks are 1-D.", NULL},
    {"dtype", get_dtype, NULL, "Of every item.", NULL},
    {"nbytes", get_nbytes, NULL, "Bytes of memory, in whole pages; they count twice against the limit.", NULL},
    {"read_available", get_read_available, NULL, "Frames that can be read.", NULL},
    {"write_available", get_write_available, NULL, "Frames that can be written.", NULL},
    {"frames_written", get_counter, NULL, "Frames written since the ring was made.",
     (void *)offsetof(struct ring_shared, written)},
    {"frames_read", get_counter, NULL, "Frames read since the ring was made.",
     (void *)offsetof(struct ring_shared, read)},
    COUNTER(overruns, "Calls of write(..., drop=True) that lost frames."),
    COUNTER(frames_lost, "Frames that these calls lost."),
    COUNTER(underruns, "Calls of read_into(..., fill=x) that had to fill."),
    COUNTER(frames_missed, "Frames that these calls filled."),
    {"closed", get_closed, NULL, "Whether either side has closed the ring.", NULL},
    {"eof", get_eof, NULL, "Whether the ring is closed and everything has been read.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"write", FASTCALL(ring_write), METH_FASTCALL | METH_KEYWORDS, ring_write_doc},
    {"read_into", FASTCALL(ring_read_into), METH_FASTCALL | METH_KEYWORDS, ring_read_into_doc},
    {"read", ring_read, METH_O, ring_read_doc},
    {"write_window", ring_write_window, METH_O, ring_write_window_doc},
    {"commit", ring_commit, METH_O, ring_commit_doc},
    {"read_window", ring_read_window, METH_O, ring_read_window_doc},
    {"consume", ring_consume, METH_O, ring_consume_doc},
    {"close", ring_close_method, METH_NOARGS, ring_close_doc},
    {NULL, NULL, 0, NULL},
};

/* Making. */

/* What is asked for, in numbers that have been checked. */
struct ring_request {
    PyArray_Descr *descr;
    struct frame_format format;
    uint64_t capacity;
    size_t data_bytes;
    bool columns;
};

static int take_positive(PyObject *object, const char *name, size_t *count)
{
    if (take_count(object, name, count) == 0 && *count > 0)
        return 0;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "%s must be at least 1, not 0", name);
    return -1;
}

static int check_dtype(PyArray_Descr *descr)
{
    const char *trouble = NULL;
    if (PyDataType_REFCHK(descr))
        trouble = "holds references to objects outside of the ring: locking the ring would not lock them";
    else if (PyDataType_HASSUBARRAY(descr))
        trouble = "is an array itself: take its element as the dtype, and channels for its length";
    else if (PyDataType_ELSIZE(descr) == 0)
        trouble = "has no bytes";
    if (trouble != NULL)
        PyErr_Format(PyExc_TypeError, "dtype %R %s", (PyObject *)descr, trouble);
    return trouble == NULL ? 0 : -1;
}

static int measure(PyObject *capacity, PyObject *channels, struct ring_request *request)
{
    size_t frames, nbytes;
    request->columns = channels != Py_None;
    request->format.channels = 1;
    request->format.item_bytes = (size_t)PyDataType_ELSIZE(request->descr);
    if (take_positive(capacity, "capacity", &frames) < 0 ||
        (request->columns && take_positive(channels, "channels", &request->format.channels) < 0))
        return -1;
    request->capacity = frames;
    if (__builtin_mul_overflow(request->format.channels, request->format.item_bytes, &request->format.frame_bytes) ||
        __builtin_mul_overflow(frames, request->format.frame_bytes, &nbytes) ||
        (request->data_bytes = region_pages(nbytes)) == 0 || mirror_bytes(request->data_bytes) > PY_SSIZE_T_MAX) {
        PyErr_SetString(PyExc_ValueError, "the ring is too big: twice its bytes are more than can be addressed");
        return -1;
    }
    return 0;
}

static PyObject *make_region(PyObject *pool, const struct ring_request *request, unsigned flags)
{
    if (pool != Py_None)
        return region_of_pool(pool, request->data_bytes);
    struct region_request memory = {
        .nbytes = request->data_bytes,
        .mirrored = true,
        .unlocked = flags & REGION_UNLOCKED,
    };
    return region_make(&memory, mirror_bytes(request->data_bytes));
}

/* Ring(capacity, channels, dtype, pool or None, flags) */
static PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *capacity, *channels, *pool, *region = NULL;
    struct ring_request request = {0};
    unsigned flags;
    if (!PyArg_ParseTuple(args, "OOO&OI:Ring", &capacity, &channels, PyArray_DescrConverter, &request.descr, &pool,
                          &flags))
        return NULL;
    struct ring_object *self = NULL;
    if (check_dtype(request.descr) == 0 && measure(capacity, channels, &request) == 0)
        region = make_region(pool, &request, flags);
    if (region != NULL)
        self = (struct ring_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(region);
        Py_DECREF((PyObject *)request.descr);
        return NULL;
    }
    self->ring = ring_init(region_start(region), request.capacity, request.format.frame_bytes, request.data_bytes);
    self->region = region;
    self->descr = request.descr;
    self->format = request.format;
    self->columns = request.columns;
    return (PyObject *)self;
}

static void ring_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    struct ring_object *self = object_of(object);
    Py_XDECREF(self->region);
    Py_XDECREF((PyObject *)self->descr);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyType_Slot slots[] = {
    {Py_tp_new, ring_new},        {Py_tp_dealloc, ring_dealloc}, {Py_tp_getset, getters},
    {Py_tp_methods, methods},     {0, NULL},
};

int ring_objects_init(PyObject *module)
{
    PyType_Spec spec = {
        .name = "lockedarray._native.Ring",
        .basicsize = sizeof(struct ring_object),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return add_type(module, &spec, &ring_type);
}
