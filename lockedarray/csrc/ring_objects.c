/* The ring as Python sees it: how it is made, and what it tells. Nothing makes a system call once it is made. */
#include "ring_objects.h"

#include "pool_objects.h"
#include "region_objects.h"
#include "ring_docs.h"

static PyTypeObject *ring_type;

PyObject *ring_raise_corrupted(void)
{
    PyErr_SetString(errors.ring_corrupted, "the indices in the ring's shared header cannot be: more frames than its "
                                           "capacity lie between them; somebody else has written to this memory");
    return NULL;
}

PyObject *ring_raise_closed(void)
{
    PyErr_SetString(PyExc_BrokenPipeError, "the ring is closed: nothing more can be written to it");
    return NULL;
}

int ring_take_count(PyObject *object, const char *name, size_t *count)
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

static PyObject *ring_close_method(PyObject *object, PyObject *Py_UNUSED(none))
{
    ring_close(ring_object_of(object)->ring);
    Py_RETURN_NONE;
}

/* Properties. */

static PyObject *held(PyObject *object, bool free)
{
    const struct ring *ring = ring_object_of(object)->ring;
    int64_t frames = ring_held(ring);
    if (frames < 0)
        return ring_raise_corrupted();
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
    char *at = (char *)ring_object_of(self)->ring->shared + (uintptr_t)closure;
    return PyLong_FromUnsignedLongLong(atomic_load_explicit((_Atomic uint64_t *)(void *)at, memory_order_acquire));
}

static PyObject *get_capacity(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(ring_object_of(self)->ring->capacity);
}

static PyObject *get_channels(PyObject *self, void *Py_UNUSED(closure))
{
    if (!ring_object_of(self)->columns)
        Py_RETURN_NONE;
    return PyLong_FromSize_t(ring_object_of(self)->format.channels);
}

static PyObject *get_dtype(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)ring_object_of(self)->descr);
}

static PyObject *get_nbytes(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(mirror_bytes(ring_object_of(self)->ring->data_bytes) / 2);
}

static PyObject *get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(ring_is_closed(ring_object_of(self)->ring));
}

static PyObject *get_eof(PyObject *self, void *Py_UNUSED(closure))
{
    const struct ring *ring = ring_object_of(self)->ring;
    if (!ring_is_closed(ring)) /* first: what was written before the close is then seen */
        Py_RETURN_FALSE;
    int64_t frames = ring_held(ring);
    return frames < 0 ? ring_raise_corrupted() : PyBool_FromLong(frames == 0);
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
    if (ring_take_count(object, name, count) == 0 && *count > 0)
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
    struct ring_object *self = ring_object_of(object);
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
