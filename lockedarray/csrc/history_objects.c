/* The history as Python sees it: its methods, and what it tells. */
#include "history_objects.h"

#include "history_docs.h"
#include "mirror.h"

static PyTypeObject *history_type;

PyObject *history_raise(const struct history_object *self, int state, size_t frames, int64_t number)
{
    const struct la_history *history = self->history;
    switch (state) {
    case LA_HISTORY_TOO_MANY:
        return PyErr_Format(PyExc_ValueError, "%zu frames are asked for, and the history keeps %zu", frames,
                            (size_t)history->frames);
    case LA_HISTORY_NOT_YET:
        return PyErr_Format(PyExc_ValueError,
                            "%zu frames are asked for from number %lld on, and %zu have been written: wait until "
                            "frames_written is %lld", frames, (long long)number,
                            (size_t)__atomic_load_n(&history->shared->written, __ATOMIC_RELAXED),
                            (long long)number + (long long)frames);
    case LA_HISTORY_OVERTAKEN:
        return PyErr_Format(PyExc_TimeoutError,
                            "in each of %d tries the writer had overwritten %zu frames before they were copied",
                            LA_HISTORY_TRIES, frames);
    default:
        return PyErr_Format(errors.ring_corrupted,
                            "the indices in the history's shared header cannot be: somebody else has written to this "
                            "memory, or two write at once");
    }
}

static PyObject *history_fileno(PyObject *object, PyObject *Py_UNUSED(none))
{
    struct history_object *self = history_object_of(object);
    if (!self->named) {
        PyErr_SetString(PyExc_ValueError,
                        "the history cannot travel: its dtype cannot be described in the header");
        return NULL;
    }
    return PyLong_FromLong(self->fd);
}

/* Properties. */

static PyObject *get_frames_written(PyObject *object, void *Py_UNUSED(closure))
{
    const struct history_object *self = history_object_of(object);
    uint64_t written, begun;
    int state = la_history_indices(self->history, &written, &begun);
    return state < 0 ? history_raise(self, state, 0, 0) : PyLong_FromUnsignedLongLong(written);
}

static PyObject *get_oldest(PyObject *object, void *Py_UNUSED(closure))
{
    const struct history_object *self = history_object_of(object);
    int64_t oldest = la_history_oldest(self->history);
    uint64_t written, begun;
    int state = la_history_indices(self->history, &written, &begun);
    return state < 0 ? history_raise(self, state, 0, 0) : PyLong_FromLongLong(oldest < 0 ? 0 : oldest);
}

static PyObject *get_frames(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(history_object_of(object)->history->frames);
}

static PyObject *get_memory_frames(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(history_object_of(object)->history->memory_frames);
}

static PyObject *get_channels(PyObject *object, void *Py_UNUSED(closure))
{
    const struct history_object *self = history_object_of(object);
    if (!self->columns)
        Py_RETURN_NONE;
    return PyLong_FromSize_t(self->history->format.channels);
}

static PyObject *get_dtype(PyObject *object, void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)history_object_of(object)->descr);
}

static PyObject *get_nbytes(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(mirror_bytes(history_object_of(object)->history->data_bytes) / 2);
}

static PyObject *get_locked(PyObject *self, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(history_object_of(self)->region, "locked");
}

static PyObject *get_address(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromVoidPtr(history_object_of(object)->history);
}

static PyGetSetDef getters[] = {
    {"frames", get_frames, NULL, "Frames that can be asked for at once.", NULL},
    {"memory_frames", get_memory_frames, NULL, "Frames that the memory holds: at least twice as many.", NULL},
    {"channels", get_channels, NULL, "Items of a frame, or None where blocks are 1-D.", NULL},
    {"dtype", get_dtype, NULL, "Of every item.", NULL},
    {"nbytes", get_nbytes, NULL, "Bytes of memory, in whole pages; they count twice against the limit.", NULL},
    {"frames_written", get_frames_written, NULL, "Frames written since the history was made.", NULL},
    {"oldest", get_oldest, NULL, "Number of the oldest frame that is still whole.", NULL},
    {"locked", get_locked, NULL, "Whether its pages are locked, in this process.", NULL},
    {"address", get_address, NULL, "Of struct la_history (lockedarray/history.h), for C, Cython and Numba.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"write", history_write, METH_O, history_write_doc},
    {"latest", history_latest, METH_O, history_latest_doc},
    {"read_into", FASTCALL(history_read_into), METH_FASTCALL | METH_KEYWORDS, history_read_into_doc},
    {"fileno", history_fileno, METH_NOARGS, history_fileno_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, history_new},     {Py_tp_dealloc, history_dealloc}, {Py_tp_getset, getters},
    {Py_tp_methods, methods},     {0, NULL},
};

static PyMethodDef functions[] = {
    {"history_describe", history_describe, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int history_objects_init(PyObject *module)
{
    PyType_Spec spec = {
        .name = "lockedarray._native.History",
        .basicsize = sizeof(struct history_object),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return PyModule_AddFunctions(module, functions) < 0 ? -1 : add_type(module, &spec, &history_type);
}
