/* Waiting for the other side, without the GIL; a wait that is over at once keeps it. */
#include "arguments.h"
#include "ring_objects.h"
#include "ring_slices.h"

#include <errno.h>

/* The moment until which to wait: a number of seconds, or None for ever. */
static int take_timeout(PyObject *timeout, int64_t *until)
{
    *until = LA_RING_FOREVER;
    if (timeout == NULL || timeout == Py_None)
        return 0;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "timeout must be a number of seconds, or None, not %R", timeout);
        return -1;
    }
    if (!(seconds >= 0)) {
        PyErr_Format(PyExc_ValueError, "timeout must be a number of seconds that is not negative, or None, not %R",
                     timeout);
        return -1;
    }
    *until = ring_moment_in(seconds);
    return 0;
}

static int take_frames(const struct ring_object *self, PyObject *object, size_t *n)
{
    if (ring_take_count(object, "n", n) < 0)
        return -1;
    if (*n <= self->ring->capacity)
        return 0;
    PyErr_Format(PyExc_ValueError, "n is %zu, and the ring has room for %zu frames: they can never be there at once", *n,
                 (size_t)self->ring->capacity);
    return -1;
}

/* A forked child that could not open the ring's file again cannot tell that it lives, nor that another does. */
static int check_present(const struct ring_object *self)
{
    if (self->presence.fd >= 0)
        return 0;
    raise_refused("open of the ring's file after a fork through /proc/self/fd", self->presence.error, 0);
    return -1;
}

static PyObject *wait_for(struct ring_object *self, struct la_ring_side *side, size_t n, int64_t until)
{
    int state = la_ring_can(self->ring, side, n);
    while (state == LA_RING_TIMEOUT || state == LA_RING_INTERRUPTED) {
        if (check_present(self) < 0)
            return NULL;
        int64_t latest = ring_slice_end(until);
        Py_BEGIN_ALLOW_THREADS
        state = la_ring_wait(self->ring, side, n, latest);
        Py_END_ALLOW_THREADS
        if (state == LA_RING_TIMEOUT && latest == until)
            Py_RETURN_FALSE;
        if ((state == LA_RING_TIMEOUT || state == LA_RING_INTERRUPTED) && PyErr_CheckSignals() < 0)
            return NULL;
    }
    return state == LA_RING_CORRUPTED ? ring_raise(state) : PyBool_FromLong(state == LA_RING_READY);
}

static PyObject *wait_side(PyObject *object, const struct signature *signature, bool reads, PyObject *const *args,
                           Py_ssize_t count, PyObject *names)
{
    struct ring_object *self = ring_object_of(object);
    PyObject *values[2] = {NULL, NULL};
    size_t n;
    int64_t until;
    if (arguments_from_vector(signature, values, args, count, names) < 0 || take_frames(self, values[0], &n) < 0 ||
        take_timeout(values[1], &until) < 0)
        return NULL;
    return wait_for(self, reads ? &self->ring->reader : &self->ring->writer, n, until);
}

PyObject *ring_wait_read(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static const struct signature signature = {"wait_read()", 2, 1, 2, {"n", "timeout"}};
    return wait_side(self, &signature, true, args, count, names);
}

PyObject *ring_wait_write(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static const struct signature signature = {"wait_write()", 2, 1, 2, {"n", "timeout"}};
    return wait_side(self, &signature, false, args, count, names);
}

/* An eventfd instead of a sleep. */

static PyObject *arm(PyObject *object, bool reads, PyObject *frames)
{
    struct ring_object *self = ring_object_of(object);
    struct la_ring_side *side = reads ? &self->ring->reader : &self->ring->writer;
    size_t n;
    if (take_frames(self, frames, &n) < 0)
        return NULL;
    if (side->event < 0) {
        PyErr_SetString(PyExc_ValueError, "the ring was made without eventfd=True");
        return NULL;
    }
    int error = os_drain(side->event);
    if (error < 0)
        return raise_refused("read of the eventfd", error, 0);
    la_ring_look(self->ring, side);
    int state = la_ring_can(self->ring, side, n); /* first: this process may not be that side yet */
    if (state == LA_RING_TIMEOUT)
        state = la_ring_say(self->ring, side, n, LA_RING_ARMED);
    return state == LA_RING_CORRUPTED ? ring_raise(state) : PyBool_FromLong(state == LA_RING_TIMEOUT);
}

PyObject *ring_arm_read(PyObject *self, PyObject *n)
{
    return arm(self, true, n);
}

PyObject *ring_arm_write(PyObject *self, PyObject *n)
{
    return arm(self, false, n);
}
