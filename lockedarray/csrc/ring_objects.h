/* _native.Ring: the ring as Python sees it. */
#ifndef LOCKEDARRAY_RING_OBJECTS_H
#define LOCKEDARRAY_RING_OBJECTS_H

#include "frames.h"
#include "objects.h"
#include "ring.h"

struct ring_object {
    PyObject_HEAD
    struct ring *ring;
    PyObject *region; /* the memory; also the base of every window */
    PyArray_Descr *descr;
    struct frame_format format;
    bool columns; /* blocks are (n, channels) */
};

static inline struct ring_object *ring_object_of(PyObject *self)
{
    return (struct ring_object *)self;
}

/* Both return NULL. */
PyObject *ring_raise_corrupted(void);
PyObject *ring_raise_closed(void);

/* A number of frames that Python gave, not negative; or -1 and an exception. */
int ring_take_count(PyObject *object, const char *name, size_t *count);

/* A new array of so many frames; over `data`, if there is some, which then belongs to the region. */
PyObject *ring_new_block(struct ring_object *self, size_t frames, char *data, bool writable);

/* ring_transfer.c */
PyObject *ring_write(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *ring_read_into(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *ring_read(PyObject *self, PyObject *n);

/* ring_windows.c */
PyObject *ring_write_window(PyObject *self, PyObject *n);
PyObject *ring_commit(PyObject *self, PyObject *k);
PyObject *ring_read_window(PyObject *self, PyObject *n);
PyObject *ring_consume(PyObject *self, PyObject *k);

#endif
