/* Blocks of frames into a history and out of it. Every call keeps the GIL, and makes no system call; only what is
   returned is allocated. */
#include "arguments.h"
#include "block.h"
#include "history_objects.h"

static int open_block(const struct history_object *self, PyObject *object, const char *name, struct block *block)
{
    const struct la_history *history = self->history;
    struct block_format format = {"history", self->descr, history->format.channels, history->format.item_bytes,
                                  self->columns};
    return block_open(&format, object, name, block);
}

static struct la_history_block memory_of(const struct block *block)
{
    return (struct la_history_block){block->at.at, block->at.frame_stride, block->at.channel_stride};
}

PyObject *history_write(PyObject *object, PyObject *array)
{
    struct history_object *self = history_object_of(object);
    struct block block;
    if (open_block(self, array, "block", &block) < 0)
        return NULL;
    int state = la_history_write_strided(self->history, memory_of(&block), block.frames);
    if (state < 0)
        return history_raise(self, state, block.frames, 0);
    Py_RETURN_NONE;
}

/* A number of a frame, or None. A number beyond 64 bits has not been written yet, or is one of the zeros'. */
static int take_number(PyObject *object, int64_t *number)
{
    int overflow;
    if (object == NULL || object == Py_None) {
        *number = LA_HISTORY_NEWEST;
        return 0;
    }
    PyObject *index = PyNumber_Index(object);
    if (index == NULL)
        return -1;
    long long value = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (overflow != 0 || value >= INT64_MAX / 4 || value < -(INT64_MAX / 4)) {
        PyErr_SetString(PyExc_ValueError, "at is beyond every frame's number");
        return -1;
    }
    *number = value;
    return value == -1 && PyErr_Occurred() ? -1 : 0;
}

PyObject *history_read_into(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static const struct signature signature = {"read_into()", 2, 1, 2, {"out", "at"}};
    struct history_object *self = history_object_of(object);
    PyObject *values[2] = {NULL, NULL};
    struct block out;
    int64_t number;
    if (arguments_from_vector(&signature, values, args, count, names) < 0 ||
        open_block(self, values[0], "out", &out) < 0 ||
        PyArray_FailUnlessWriteable((PyArrayObject *)values[0], "out") < 0 || take_number(values[1], &number) < 0)
        return NULL;
    int64_t wanted = number;
    int state = la_history_read_strided(self->history, memory_of(&out), out.frames, &number);
    return state < 0 ? history_raise(self, state, out.frames, wanted) : PyLong_FromLongLong(number);
}

PyObject *history_latest(PyObject *object, PyObject *n)
{
    struct history_object *self = history_object_of(object);
    const struct la_history *history = self->history;
    const void *at;
    int64_t number = 0;
    Py_ssize_t wanted = PyNumber_AsSsize_t(n, PyExc_ValueError);
    if (wanted == -1 && PyErr_Occurred())
        return NULL;
    if (wanted < 0) {
        PyErr_Format(PyExc_ValueError, "n must be a number of frames, not %zd", wanted);
        return NULL;
    }
    int state = la_history_latest(history, (size_t)wanted, &at, &number);
    if (state < 0)
        return history_raise(self, state, (size_t)wanted, number);
    npy_intp shape[] = {wanted, (npy_intp)history->format.channels};
    /* Given, for NumPy gives the strides of an empty array as it likes. */
    npy_intp strides[] = {(npy_intp)history->format.frame_bytes, (npy_intp)history->format.item_bytes};
    Py_INCREF((PyObject *)self->descr);
    PyObject *view = PyArray_NewFromDescr(&PyArray_Type, self->descr, self->columns ? 2 : 1, shape, strides,
                                          (void *)(uintptr_t)at, 0, NULL);
    if (view != NULL && PyArray_SetBaseObject((PyArrayObject *)view, Py_NewRef(self->region)) < 0)
        Py_CLEAR(view);
    return view;
}
