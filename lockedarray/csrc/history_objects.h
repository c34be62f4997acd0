/* _native.History: the history as Python sees it. */
#ifndef LOCKEDARRAY_HISTORY_OBJECTS_H
#define LOCKEDARRAY_HISTORY_OBJECTS_H

#include <lockedarray/history.h>

#include "objects.h"

struct history_object {
    PyObject_HEAD
    struct la_history *history;
    PyObject *region; /* the memory; also the base of every view */
    PyArray_Descr *descr;
    bool columns; /* blocks are (n, channels) */
    bool named;   /* the header tells the dtype */
    int fd;       /* the file */
};

static inline struct history_object *history_object_of(PyObject *self)
{
    return (struct history_object *)self;
}

/* Raise what a call of history.h returned; `number` and `frames` are what was asked for. Returns NULL. */
PyObject *history_raise(const struct history_object *self, int state, size_t frames, int64_t number);

/* history_making.c */
PyObject *history_new(PyTypeObject *type, PyObject *args, PyObject *keywords);
PyObject *history_describe(PyObject *module, PyObject *descriptor);
void history_dealloc(PyObject *object);

/* history_transfer.c */
PyObject *history_write(PyObject *self, PyObject *block);
PyObject *history_read_into(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *history_latest(PyObject *self, PyObject *n);

#endif
