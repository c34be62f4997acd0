/* The ring as Python sees it: its methods, and what it tells. */
#include "ring_objects.h"

#include "mirror.h"
#include "ring_docs.h"

static PyTypeObject *ring_type;

/* numba_ring.py says the same. */
#define CLOSED "the ring is closed, by close() or since a side has died: nothing more can be written to it"
#define CORRUPTED "the indices in the ring's shared header cannot be: more frames than its capacity lie between them; " \
                  "somebody else has written to this memory"

PyObject *ring_raise(int64_t state)
{
    if (state == LA_RING_CLOSED)
        PyErr_SetString(PyExc_BrokenPipeError, CLOSED);
    else
        PyErr_SetString(errors.ring_corrupted, CORRUPTED);
    return NULL;
}

int ring_take_count(PyObject *object, const char *name, size_t *count)
{
    /* An int is taken as it is, which saves 10 ns; all else, and what is wrong with it, goes the long way. */
    Py_ssize_t value = PyLong_CheckExact(object) ? PyLong_AsSsize_t(object) : -1;
    if (value >= 0) {
        *count = (size_t)value;
        return 0;
    }
    PyErr_Clear();
    value = PyNumber_AsSsize_t(object, PyExc_ValueError);
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
    la_ring_close(ring_object_of(object)->ring);
    Py_RETURN_NONE;
}

static PyObject *ring_fileno(PyObject *object, PyObject *Py_UNUSED(none))
{
    struct ring_object *self = ring_object_of(object);
    if (!self->named) {
        PyErr_SetString(PyExc_ValueError, "the ring cannot travel: its dtype cannot be described in the header");
        return NULL;
    }
    int fd = presence_hand_out(&self->presence);
    if (fd < 0)
        return raise_refused("open of the ring's file through /proc/self/fd", fd, 0);
    return PyLong_FromLong(fd);
}

/* Properties. */

static PyObject *held(PyObject *object, bool free)
{
    const struct la_ring *ring = ring_object_of(object)->ring;
    int64_t frames = la_ring_held(ring);
    if (frames < 0)
        return ring_raise(frames);
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

/* The closure of a counter's getter is its place in the header. */
static PyObject *get_counter(PyObject *self, void *closure)
{
    char *at = (char *)ring_object_of(self)->ring->shared + (uintptr_t)closure;
    return PyLong_FromUnsignedLongLong(__atomic_load_n((uint64_t *)(void *)at, __ATOMIC_ACQUIRE));
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

static PyObject *get_locked(PyObject *self, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(ring_object_of(self)->region, "locked");
}

static PyObject *get_address(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromVoidPtr(ring_object_of(self)->ring);
}

static PyObject *get_eventfds(PyObject *self, void *Py_UNUSED(closure))
{
    const int *events = ring_object_of(self)->events;
    if (events[0] < 0)
        Py_RETURN_NONE;
    return Py_BuildValue("ii", events[0], events[1]);
}

/* Whoever asks is a side, or neither: then both have to live. */
static PyObject *get_peer_alive(PyObject *self, void *Py_UNUSED(closure))
{
    const struct la_ring *ring = ring_object_of(self)->ring;
    return PyBool_FromLong(la_ring_writer_lives(ring) && la_ring_reader_lives(ring));
}

static PyObject *get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(la_ring_ask_closed(ring_object_of(self)->ring));
}

static PyObject *get_eof(PyObject *self, void *Py_UNUSED(closure))
{
    struct la_ring *ring = ring_object_of(self)->ring;
    if (!la_ring_ask_closed(ring)) /* first: what was written before the close is then seen */
        Py_RETURN_FALSE;
    int64_t frames = la_ring_held(ring);
    return frames < 0 ? ring_raise(frames) : PyBool_FromLong(frames == 0);
}

#define COUNTER(field, doc) {#field, get_counter, NULL, doc, (void *)offsetof(struct la_ring_shared, field)}

static PyGetSetDef getters[] = {
    {"capacity", get_capacity, NULL, "Frames that fit, all of them usable.", NULL},
    {"channels", get_channels, NULL, "Items of a frame, or None where blocks are 1-D.", NULL},
    {"dtype", get_dtype, NULL, "Of every item.", NULL},
    {"nbytes", get_nbytes, NULL, "Bytes of memory, in whole pages; they count twice against the limit.", NULL},
    {"read_available", get_read_available, NULL, "Frames that can be read.", NULL},
    {"write_available", get_write_available, NULL, "Frames that can be written.", NULL},
    {"frames_written", get_counter, NULL, "Frames written since the ring was made.",
     (void *)offsetof(struct la_ring_shared, written)},
    {"frames_read", get_counter, NULL, "Frames read since the ring was made.",
     (void *)offsetof(struct la_ring_shared, read)},
    COUNTER(overruns, "Calls of write(..., drop=True) that lost frames."),
    COUNTER(frames_lost, "Frames that these calls lost."),
    COUNTER(underruns, "Calls of read_into(..., fill=x) that had to fill."),
    COUNTER(frames_missed, "Frames that these calls filled."),
    {"closed", get_closed, NULL, "Whether either side has closed the ring, or has died.", NULL},
    {"peer_alive", get_peer_alive, NULL, "Whether the other side lives; a system call if it is another process.", NULL},
    {"locked", get_locked, NULL, "Whether its pages are locked, in this process.", NULL},
    {"address", get_address, NULL, "Of struct la_ring (lockedarray/ring.h), for C, Cython and Numba.", NULL},
    {"eventfds", get_eventfds, NULL, "With eventfd=True: what tells the reader, and what tells the writer.", NULL},
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
    {"wait_read", FASTCALL(ring_wait_read), METH_FASTCALL | METH_KEYWORDS, ring_wait_read_doc},
    {"wait_write", FASTCALL(ring_wait_write), METH_FASTCALL | METH_KEYWORDS, ring_wait_write_doc},
    {"arm_read", ring_arm_read, METH_O, ring_arm_read_doc},
    {"arm_write", ring_arm_write, METH_O, ring_arm_write_doc},
    {"close", ring_close_method, METH_NOARGS, ring_close_doc},
    {"fileno", ring_fileno, METH_NOARGS, ring_fileno_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, ring_new},        {Py_tp_dealloc, ring_dealloc}, {Py_tp_getset, getters},
    {Py_tp_methods, methods},     {0, NULL},
};

static PyMethodDef functions[] = {
    {"ring_describe", ring_describe, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int ring_objects_init(PyObject *module)
{
    if (presence_init() < 0) {
        PyErr_NoMemory(); /* the only failure that pthread_atfork knows */
        return -1;
    }
    PyType_Spec spec = {
        .name = "lockedarray._native.Ring",
        .basicsize = sizeof(struct ring_object),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    if (PyModule_AddStringConstant(module, "RING_CLOSED", CLOSED) < 0 ||
        PyModule_AddStringConstant(module, "RING_CORRUPTED", CORRUPTED) < 0 ||
        PyModule_AddFunctions(module, functions) < 0)
        return -1;
    return add_type(module, &spec, &ring_type);
}
