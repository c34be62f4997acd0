/* Blocks of frames into a history and out of it. Every call keeps the GIL, and makes no system call; only what is
   returned is allocated. */
#include "arguments.h"
#include "history_objects.h"

struct block {
    struct la_history_block at;
    size_t frames;
};

static int refuse_shape(const struct history_object *self, PyArrayObject *array, const char *name)
{
    size_t channels = self->history->format.channels;
    PyObject *shape = PyArray_IntTupleFromIntp(PyArray_NDIM(array), PyArray_DIMS(array));
    if (shape != NULL && !self->columns)
        PyErr_Format(PyExc_ValueError, "%s must have the shape (frames,), not %R", name, shape);
    else if (shape != NULL)
        PyErr_Format(PyExc_ValueError, "%s must have the shape (frames, %zd)%s, not %R", name, channels,
                     channels == 1 ? " or (frames,)" : "", shape);
    Py_XDECREF(shape);
    return -1;
}

static int block_open(const struct history_object *self, PyObject *object, const char *name, struct block *block)
{
    if (!PyArray_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be a numpy.ndarray of %S, not %R", name, (PyObject *)self->descr,
                     (PyObject *)Py_TYPE(object));
        return -1;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    if (PyArray_DESCR(array) != self->descr && !PyArray_EquivTypes(PyArray_DESCR(array), self->descr)) {
        PyErr_Format(PyExc_TypeError, "%s must have the history's dtype, %S, not %S", name, (PyObject *)self->descr,
                     (PyObject *)PyArray_DESCR(array));
        return -1;
    }
    const struct la_history *history = self->history;
    int axes = PyArray_NDIM(array);
    bool flat = axes == 1 && (!self->columns || history->format.channels == 1);
    bool wide = axes == 2 && self->columns && (size_t)PyArray_DIM(array, 1) == history->format.channels;
    if (!flat && !wide)
        return refuse_shape(self, array, name);
    block->frames = (size_t)PyArray_DIM(array, 0);
    block->at.at = PyArray_BYTES(array);
    block->at.frame_stride = PyArray_STRIDE(array, 0);
    block->at.channel_stride = wide && history->format.channels > 1 ? PyArray_STRIDE(array, 1)
                                                             : (ptrdiff_t)history->format.item_bytes;
    return 0;
}

PyObject *history_write(PyObject *object, PyObject *array)
{
    struct history_object *self = history_object_of(object);
    struct block block;
    if (block_open(self, array, "block", &block) < 0)
        return NULL;
    int state = la_history_write_strided(self->history, block.at, block.frames);
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
        block_open(self, values[0], "out", &out) < 0 ||
        PyArray_FailUnlessWriteable((PyArrayObject *)values[0], "out") < 0 || take_number(values[1], &number) < 0)
        return NULL;
    int64_t wanted = number;
    int state = la_history_read_strided(self->history, out.at, out.frames, &number);
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
