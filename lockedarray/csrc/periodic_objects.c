/* _native.Periodic: an iterator that waits for one absolute deadline after another. */
#include "objects.h"

#include <errno.h>
#include <math.h>

#include "cdef.h"

#define SHORTEST 1e-9
#define LONGEST 86400.0

struct periodic {
    PyObject_HEAD
    double seconds;
    int64_t t0;
    int64_t next; /* the deadline to wait for, counted from 1; 0 before the first */
    int64_t missed, wakeups;
    Py_buffer history; /* the caller's memory, resident: recording a latency must not fault */
    int64_t *latencies;
    int64_t capacity;
};

static PyTypeObject *periodic_type;

/* Making. */

static int take_seconds(struct periodic *self, PyObject *number)
{
    self->seconds = PyFloat_AsDouble(number);
    if (self->seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (self->seconds >= SHORTEST && self->seconds <= LONGEST) /* false for NaN */
        return 0;
    PyErr_Format(PyExc_ValueError, "seconds must be between 1e-9 and 86400 (a day), not %R", number);
    return -1;
}

static int take_history(struct periodic *self, PyObject *array)
{
    if (PyObject_GetBuffer(array, &self->history, PyBUF_WRITABLE) < 0)
        return -1;
    self->latencies = self->history.buf;
    self->capacity = self->history.len / (Py_ssize_t)sizeof *self->latencies;
    return 0;
}

static PyObject *periodic_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"seconds", "history", NULL};
    PyObject *seconds, *history;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO", names, &seconds, &history))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct periodic *self = (struct periodic *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    if (take_seconds(self, seconds) < 0 || take_history(self, history) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void periodic_dealloc(struct periodic *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyBuffer_Release(&self->history);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* Waiting. */

/* Skip what has passed already: it is missed. */
static void skip(struct periodic *self)
{
    int64_t now = os_monotonic();
    if (self->next == 0) {
        self->t0 = now;
        self->next = 1;
    }
    int64_t next = deadline_next(self->t0, self->seconds, self->next, now);
    self->missed += next - self->next;
    self->next = next;
}

/* Wait without the GIL. A signal's handler runs at once; unless it raises, the same deadline is waited for. */
static int wait_until(int64_t deadline)
{
    int error;
    do {
        Py_BEGIN_ALLOW_THREADS
        error = os_sleep_until(deadline);
        Py_END_ALLOW_THREADS
        if (error == -EINTR && PyErr_CheckSignals() < 0)
            return -1;
    } while (error == -EINTR);
    if (error == 0)
        return 0;
    raise_refused("clock_nanosleep", error, 0);
    return -1;
}

static void record(struct periodic *self, int64_t latency)
{
    if (self->capacity > 0)
        self->latencies[self->wakeups % self->capacity] = latency;
    self->wakeups++;
}

static PyObject *periodic_next(struct periodic *self)
{
    skip(self);
    int64_t k = self->next;
    int64_t deadline = deadline_at(self->t0, self->seconds, k);
    if (wait_until(deadline) < 0)
        return NULL;
    /* With the GIL held again: the latency that the loop's body sees. */
    record(self, os_monotonic() - deadline);
    /* Another thread may have waited for the same deadline, or gone on to later ones. */
    if (self->next == k)
        self->next = k + 1;
    return PyLong_FromLongLong(deadline);
}

/* Attributes. */

static PyObject *get_seconds(struct periodic *self, void *Py_UNUSED(closure))
{
    return PyFloat_FromDouble(self->seconds);
}

static PyObject *get_t0(struct periodic *self, void *Py_UNUSED(closure))
{
    if (self->next == 0)
        Py_RETURN_NONE;
    return PyLong_FromLongLong(self->t0);
}

static PyObject *get_missed(struct periodic *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(self->missed);
}

static PyObject *get_wakeups(struct periodic *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(self->wakeups);
}

static PyGetSetDef attributes[] = {
    {"seconds", (getter)get_seconds, NULL, "The period in seconds.", NULL},
    {"t0", (getter)get_t0, NULL, "The moment of the first next, in ns of CLOCK_MONOTONIC; None before.", NULL},
    {"missed", (getter)get_missed, NULL, "Deadlines skipped because they had passed when the wait began.", NULL},
    {"wakeups", (getter)get_wakeups, NULL, "Deadlines waited for.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, periodic_new},
    {Py_tp_dealloc, periodic_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, periodic_next},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "lockedarray._native.Periodic",
    .basicsize = sizeof(struct periodic),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

int periodic_objects_init(PyObject *module)
{
    return add_type(module, &spec, &periodic_type);
}
