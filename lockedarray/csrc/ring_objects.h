/* _native.Ring: the ring as Python sees it. */
#ifndef LOCKEDARRAY_RING_OBJECTS_H
#define LOCKEDARRAY_RING_OBJECTS_H

#include "frames.h"
#include "objects.h"
#include "presence.h"
#include "ring_room.h"

/* A number of frames, and the int that Python gets for it. */
struct number {
    size_t frames;
    PyObject *object;
};

struct ring_object {
    PyObject_HEAD
    struct la_ring *ring;
    PyObject *region; /* the memory; also the base of every window */
    PyArray_Descr *descr;
    struct frame_format format;
    bool columns; /* blocks are (n, channels) */
    bool present; /* `presence` has begun */
    bool named;   /* the header names the dtype */
    struct presence presence;
    int events[2];      /* the eventfds of the reader and the writer, or -1 */
    struct number taken, got; /* what writing, and reading, returned last */
};

static inline struct ring_object *ring_object_of(PyObject *self)
{
    return (struct ring_object *)self;
}

/* Raise what LA_RING_CORRUPTED and LA_RING_CLOSED mean. Returns NULL. */
PyObject *ring_raise(int64_t state);

/* A number of frames that Python gave, not negative; or -1 and an exception. */
int ring_take_count(PyObject *object, const char *name, size_t *count);

/* The same block size comes again and again, and making an int of it costs a tenth of a transfer: the last is kept, by
   each side for itself. */
static inline PyObject *ring_number(struct number *last, size_t frames)
{
    if (last->object == NULL || frames != last->frames) {
        PyObject *object = PyLong_FromSize_t(frames);
        if (object == NULL)
            return NULL;
        Py_XDECREF(last->object);
        *last = (struct number){frames, object};
    }
    return Py_NewRef(last->object);
}

/* A new array of so many frames; over `data`, if there is some, which then belongs to the region. */
PyObject *ring_new_block(struct ring_object *self, size_t frames, char *data, bool writable);

/* ring_making.c */
PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *keywords);
PyObject *ring_describe(PyObject *module, PyObject *descriptor);
void ring_dealloc(PyObject *object);

/* ring_transfer.c */
PyObject *ring_write(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *ring_read_into(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *ring_read(PyObject *self, PyObject *n);

/* ring_windows.c */
PyObject *ring_write_window(PyObject *self, PyObject *n);
PyObject *ring_commit(PyObject *self, PyObject *k);
PyObject *ring_read_window(PyObject *self, PyObject *n);
PyObject *ring_consume(PyObject *self, PyObject *k);

/* ring_waiting.c */
PyObject *ring_wait_read(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *ring_wait_write(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *ring_arm_read(PyObject *self, PyObject *n);
PyObject *ring_arm_write(PyObject *self, PyObject *n);

#endif
