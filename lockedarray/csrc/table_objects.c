/* _native.Table: a table's memory, and the two calls that read it. The GIL is kept throughout: a block takes
   microseconds, and getting the GIL back can take a switch interval. */
#include "arguments.h"
#include "numbers.h"
#include "table.h"

#include <structmember.h>

/* The limited API has Python's own names for this from 3.12 on; an older Python passes a tuple and a dict. */
#define VECTORCALL_FROM 0x030c0000
#define VECTORCALL_FLAG (1UL << 11)
typedef PyObject *(*vectorcall)(PyObject *self, PyObject *const *args, size_t count_and_flag, PyObject *names);

struct table_object {
    PyObject_HEAD
    vectorcall vectorcall;
    struct table table;
    bool columns;    /* the values are 2-D */
    PyObject *owner; /* of the memory: what the storage is a view of */
};

static PyTypeObject *table_type;

static const struct signature call_signature = {"LookupTable()", 2, 1, 2, {"x", "out"}};
static const struct signature sweep_signature = {"sweep()", 3, 3, 3, {"out", "position", "increment"}};

static const struct table_object *object_of(PyObject *self)
{
    return (const struct table_object *)self;
}

static int value_type(const struct table *t)
{
    return t->doubles ? NPY_DOUBLE : NPY_FLOAT;
}

/* What is written: looked at after every argument was read, since reading may run Python code. */

static int check_out(const struct table *t, PyObject *out)
{
    if (!PyArray_Check(out)) {
        PyErr_Format(PyExc_TypeError, "out must be a numpy.ndarray, not %R", (PyObject *)Py_TYPE(out));
        return -1;
    }
    PyArrayObject *array = (PyArrayObject *)out;
    if (PyArray_TYPE(array) != value_type(t) || PyArray_ISBYTESWAPPED(array)) {
        PyErr_Format(PyExc_TypeError, "out must have the table's dtype, %s, not %S",
                     t->doubles ? "float64" : "float32", (PyObject *)PyArray_DESCR(array));
        return -1;
    }
    /* NumPy's own check warns of broadcast arrays, which runs Python code: x is open by now, and could be resized. */
    return PyArray_ISWRITEABLE(array) ? 0 : PyArray_FailUnlessWriteable(array, "out");
}

static int check_shape(PyArrayObject *array, const char *name, int axes, const npy_intp *shape)
{
    if (PyArray_NDIM(array) == axes && PyArray_CompareLists(PyArray_DIMS(array), shape, axes))
        return 0;
    PyObject *wanted = PyArray_IntTupleFromIntp(axes, shape);
    PyObject *given = PyArray_IntTupleFromIntp(PyArray_NDIM(array), PyArray_DIMS(array));
    if (wanted != NULL && given != NULL)
        PyErr_Format(PyExc_ValueError, "%s must have the shape %R, not %R", name, wanted, given);
    Py_XDECREF(wanted);
    Py_XDECREF(given);
    return -1;
}

/* table(x, out=None) */

static int evaluate(const struct table *t, struct numbers *x, PyArrayObject *out)
{
    struct strided elements;
    if (PyArray_SIZE(out) == 0)
        return 0;
    numbers_describe(out, &elements);
    if (numbers_keep_from(x, &elements) < 0)
        return -1;
    table_evaluate(t, &x->elements, x->element, PyArray_SIZE(x->array), &elements);
    return 0;
}

static PyObject *evaluate_into(const struct table *t, struct numbers *x, PyObject *out, int axes,
                               const npy_intp *shape)
{
    if (check_out(t, out) < 0 || check_shape((PyArrayObject *)out, "out", axes, shape) < 0)
        return NULL;
    return evaluate(t, x, (PyArrayObject *)out) < 0 ? NULL : Py_NewRef(out);
}

static PyObject *evaluate_new(const struct table *t, struct numbers *x, int axes, const npy_intp *shape)
{
    PyObject *out = PyArray_SimpleNew(axes, shape, value_type(t));
    if (out == NULL)
        return NULL;
    if (evaluate(t, x, (PyArrayObject *)out) < 0) {
        Py_DECREF(out);
        return NULL;
    }
    return PyArray_Return((PyArrayObject *)out); /* without axes a scalar, as from a ufunc */
}

static PyObject *call(PyObject *self, PyObject *const *values)
{
    const struct table *t = &object_of(self)->table;
    PyObject *out = values[1];
    struct numbers x;
    if (numbers_open(values[0], "x", &x) < 0)
        return NULL;
    npy_intp shape[STRIDED_AXES];
    int axes = PyArray_NDIM(x.array);
    for (int axis = 0; axis < axes; axis++)
        shape[axis] = PyArray_DIM(x.array, axis);
    if (object_of(self)->columns)
        shape[axes++] = t->channels;
    PyObject *result = out == NULL || out == Py_None ? evaluate_new(t, &x, axes, shape)
                                                     : evaluate_into(t, &x, out, axes, shape);
    Py_DECREF(x.array);
    return result;
}

static PyObject *call_vector(PyObject *self, PyObject *const *args, size_t count_and_flag, PyObject *names)
{
    PyObject *values[2] = {NULL, NULL};
    Py_ssize_t count = (Py_ssize_t)(count_and_flag & (SIZE_MAX >> 1));
    return arguments_from_vector(&call_signature, values, args, count, names) < 0 ? NULL : call(self, values);
}

static PyObject *call_tuple(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *values[2] = {NULL, NULL};
    if (arguments_from_tuple(&call_signature, values, args, keywords) < 0)
        return NULL;
    Py_INCREF(values[0]);
    Py_XINCREF(values[1]); /* the dict is not only ours, and reading x may run Python code */
    PyObject *result = call(self, values);
    Py_DECREF(values[0]);
    Py_XDECREF(values[1]);
    return result;
}

/* table.sweep(out, position, increment) */

/* One increment for all frames, or (each.array is not NULL) one for each. */
struct increments {
    double one;
    struct numbers each;
};

static int open_increments(PyObject *object, struct increments *increments)
{
    increments->each.array = NULL;
    if (numbers_is_plain(object))
        return numbers_one(object, "increment", &increments->one);
    if (numbers_open(object, "increment", &increments->each) < 0)
        return -1;
    if (PyArray_NDIM(increments->each.array) == 0) {
        strided_load(&increments->each.elements, increments->each.element, &increments->one, 1);
        Py_CLEAR(increments->each.array);
    }
    return 0;
}

static PyObject *sweep_into(const struct table_object *self, PyObject *array, double position,
                            struct increments *increments)
{
    const struct table *t = &self->table;
    PyArrayObject *out = (PyArrayObject *)array;
    struct numbers *each = &increments->each;
    struct strided elements;
    if (check_out(t, array) < 0)
        return NULL;
    npy_intp shape[] = {PyArray_NDIM(out) == 0 ? 1 : PyArray_DIM(out, 0), t->channels};
    npy_intp frames = shape[0];
    if (check_shape(out, "out", self->columns ? 2 : 1, shape) < 0)
        return NULL;
    numbers_describe(out, &elements);
    if (each->array == NULL)
        return PyFloat_FromDouble(table_sweep(t, position, increments->one, frames, &elements));
    if (check_shape(each->array, "increment", 1, &frames) < 0)
        return NULL;
    if (frames > 0 && numbers_keep_from(each, &elements) < 0)
        return NULL;
    return PyFloat_FromDouble(table_sweep_each(t, position, &each->elements, each->element, frames, &elements));
}

static PyObject *sweep(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *values[3] = {NULL, NULL, NULL};
    struct increments increments;
    double position;
    if (arguments_from_vector(&sweep_signature, values, args, count, names) < 0 ||
        numbers_one(values[1], "position", &position) < 0 || open_increments(values[2], &increments) < 0)
        return NULL;
    PyObject *next = sweep_into(object_of(self), values[0], position, &increments);
    Py_XDECREF((PyObject *)increments.each.array);
    return next;
}

/* The type */

static PyObject *refuse(PyObject *exception, const char *sentence)
{
    PyErr_SetString(exception, sentence);
    return NULL;
}

/* Table(storage, start, stop, periodic, interpolation): storage is (rows,) or (rows, channels), and keeps its values
   from now on. table.py checks what users give; here stands what the kernels rely on. */
static PyObject *table_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *array;
    int periodic, interpolation;
    struct table t;
    if (!PyArg_ParseTuple(args, "O!ddpi:Table", &PyArray_Type, &array, &t.start, &t.stop, &periodic, &interpolation))
        return NULL;
    PyArrayObject *storage = (PyArrayObject *)array;
    int axes = PyArray_NDIM(storage), dtype = PyArray_TYPE(storage);
    if ((dtype != NPY_FLOAT && dtype != NPY_DOUBLE) || !PyArray_ISCARRAY_RO(storage))
        return refuse(PyExc_TypeError, "storage must be C-contiguous and aligned, of float32 or float64");
    if (axes < 1 || axes > 2 || PyArray_SIZE(storage) == 0)
        return refuse(PyExc_ValueError, "storage must be (rows,) or (rows, channels), and not empty");
    if (interpolation < TABLE_NEAREST || interpolation > TABLE_CUBIC)
        return refuse(PyExc_ValueError, "there is no such interpolation");
    t.values = PyArray_DATA(storage);
    t.doubles = dtype == NPY_DOUBLE;
    t.rows = PyArray_DIM(storage, 0);
    t.channels = axes == 2 ? PyArray_DIM(storage, 1) : 1;
    t.periodic = periodic;
    t.interpolation = (enum interpolation)interpolation;
    if (!table_init(&t))
        return refuse(PyExc_ValueError, "start and stop must be finite, and a finite distance apart");
    struct table_object *self = (struct table_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = call_vector;
    self->table = t;
    self->columns = axes == 2;
    /* Not the storage itself: an array can be given other memory, and this would then be gone. */
    self->owner = Py_NewRef(PyArray_BASE(storage) != NULL ? PyArray_BASE(storage) : array);
    return (PyObject *)self;
}

static void table_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct table_object *)self)->owner);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *get_values(PyObject *self, void *Py_UNUSED(closure))
{
    const struct table *t = &object_of(self)->table;
    npy_intp shape[] = {t->rows, t->channels};
    PyObject *values = PyArray_New(&PyArray_Type, object_of(self)->columns ? 2 : 1, shape, value_type(t), NULL,
                                   (void *)t->values, 0, NPY_ARRAY_CARRAY_RO, NULL);
    if (values != NULL && PyArray_SetBaseObject((PyArrayObject *)values, Py_NewRef(object_of(self)->owner)) < 0)
        Py_CLEAR(values);
    return values;
}

static PyObject *get_dtype(PyObject *self, void *Py_UNUSED(closure))
{
    return (PyObject *)PyArray_DescrFromType(value_type(&object_of(self)->table));
}

static PyObject *get_channels(PyObject *self, void *Py_UNUSED(closure))
{
    if (!object_of(self)->columns)
        Py_RETURN_NONE;
    return PyLong_FromSsize_t(object_of(self)->table.channels);
}

static PyObject *get_interpolation(PyObject *self, void *Py_UNUSED(closure))
{
    static const char *const names[] = {"nearest", "linear", "cubic"};
    return PyUnicode_FromString(names[object_of(self)->table.interpolation]);
}

#define OFFSET(field) (offsetof(struct table_object, table) + offsetof(struct table, field))

static PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct table_object, vectorcall), READONLY, NULL},
    {"size", T_PYSSIZET, OFFSET(rows), READONLY, "Points: of a table with channels, its rows."},
    {"start", T_DOUBLE, OFFSET(start), READONLY, "Where values[0] lies."},
    {"stop", T_DOUBLE, OFFSET(stop), READONLY, "Where the last value lies; periodic: the first one again."},
    {"periodic", T_BOOL, OFFSET(periodic), READONLY, "Whether the values repeat outside of start to stop."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef getters[] = {
    {"values", get_values, NULL, "A read-only array on the table's locked memory.", NULL},
    {"dtype", get_dtype, NULL, "Of the values and of what the table returns: float32 or float64.", NULL},
    {"channels", get_channels, NULL, "Columns of the values, or None where they are 1-D.", NULL},
    {"interpolation", get_interpolation, NULL, "\"nearest\", \"linear\" or \"cubic\".", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(sweep_doc, "sweep($self, /, out, position, increment)\n--\n\n"
"Fill `out` with the table at ``position + k*increment``: the wavetable oscillator.\n"
"\n"
"Keeps the GIL; no system call, no page fault. Allocates only the number that it returns, unless an\n"
"array of increments is float16 or of the other byte order, or overlaps `out` other than element by\n"
"element.\n"
"\n"
"Parameters\n"
"----------\n"
"out : ndarray\n"
"    Of the table's dtype, shape ``(k,)``, or ``(k, channels)`` where the table has channels. Any\n"
"    strides.\n"
"position : float\n"
"    Where ``out[0]`` lies, in the units of `start` and `stop`.\n"
"increment : float or array_like\n"
"    From each frame to the next. An array, ``(k,)``, has one for each frame, and positions are their\n"
"    running sum: frame 1 lies at ``position + increment[0]``.\n"
"\n"
"Returns\n"
"-------\n"
"float\n"
"    The next position: where the frame after the last one lies. In a periodic table it is brought\n"
"    back into the first period, start included and stop not, so that a phase that is passed on for\n"
"    days loses no precision.\n"
"\n"
"Raises\n"
"------\n"
"TypeError\n"
"    `out` is no array of the table's dtype; `position` is no real number, or `increment` none.\n"
"ValueError\n"
"    Another shape, or `out` is read-only. `out` is then as before.\n"
"\n"
"Notes\n"
"-----\n"
"Positions are computed in float64, ``position + k*increment`` with one rounding for each of the two\n"
"operations, and looked up as by a call of the table. Two short sweeps equal a long one bit for bit\n"
"where these sums are exact (an increment of 2**-10, say); else they agree within rounding.\n"
"\n"
"Examples\n"
"--------\n"
">>> import lockedarray as la, numpy as np\n"
">>> sine = la.LookupTable(np.sin(2 * np.pi * np.arange(1024) / 1024), periodic=True)\n"
">>> block, phase = np.empty(256), 0.0\n"
">>> for _ in range(3):  # 375 Hz at 48 kHz: two periods a block\n"
"...     phase = sine.sweep(block, phase, 375 / 48000)\n"
">>> phase, round(float(block[32]), 6)\n"
"(0.0, 1.0)\n");

static PyMethodDef methods[] = {
    {"sweep", FASTCALL(sweep), METH_FASTCALL | METH_KEYWORDS, sweep_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, table_new},     {Py_tp_dealloc, table_dealloc}, {Py_tp_call, call_tuple},
    {Py_tp_members, members},   {Py_tp_getset, getters},        {Py_tp_methods, methods},
    {0, NULL},
};

int table_objects_init(PyObject *module)
{
    PyType_Spec spec = {
        .name = "lockedarray._native.Table",
        .basicsize = sizeof(struct table_object),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    if (Py_Version >= VECTORCALL_FROM)
        spec.flags |= VECTORCALL_FLAG;
    return add_type(module, &spec, &table_type);
}
