#include "region_objects.h"

#include <errno.h>

/* Above this a request is first held against what the machine can give. */
#define LARGE ((size_t)64 << 20)

struct region_object {
    PyObject_HEAD
    struct region *region;
};

static PyTypeObject *region_type;

static struct region *region_of(PyObject *self)
{
    return ((struct region_object *)self)->region;
}

PyObject *region_object(struct region *region)
{
    struct region_object *self = PyObject_New(struct region_object, region_type);
    if (self == NULL) {
        region_release(region);
        return NULL;
    }
    self->region = region;
    return (PyObject *)self;
}

static void region_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    region_release(region_of(self));
    PyObject_Free(self);
    Py_DECREF(type);
}

static int region_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct region *region = region_of(self);
    return PyBuffer_FillInfo(view, self, (void *)region->address, (Py_ssize_t)region->nbytes, region->readonly, flags);
}

static PyObject *get_address(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(region_of(self)->address);
}

static PyObject *get_nbytes(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(region_of(self)->nbytes);
}

static PyObject *get_mapped_bytes(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(region_of(self)->hold.end - region_of(self)->hold.start);
}

static PyObject *get_locked(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(registry_is_locked(&region_of(self)->hold));
}

static PyObject *get_guard(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(region_of(self)->guard);
}

static PyObject *get_fork(PyObject *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(region_of(self)->shared ? "share" : "copy");
}

static PyGetSetDef region_getset[] = {
    {"address", get_address, NULL, "Where the data begins.", NULL},
    {"nbytes", get_nbytes, NULL, "Bytes of data.", NULL},
    {"mapped_bytes", get_mapped_bytes, NULL, "Bytes of the whole pages, guards not counted.", NULL},
    {"locked", get_locked, NULL, "Whether the pages were locked, in this process.", NULL},
    {"guard", get_guard, NULL, "Whether inaccessible pages stand on both sides.", NULL},
    {"fork", get_fork, NULL, "What a forked child sees: 'copy' or 'share'.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot region_slots[] = {
    {Py_tp_doc, "Whole pages of locked memory with one owner."},
    {Py_tp_dealloc, region_dealloc},
    {Py_tp_getset, region_getset},
    {Py_bf_getbuffer, region_buffer},
    {0, NULL},
};

static PyType_Spec region_spec = {
    .name = "lockedarray._native.Region",
    .basicsize = sizeof(struct region_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = region_slots,
};

/* np.empty(3, "S") has one character each. */
static int settle_flexible(struct layout *layout)
{
    PyArray_Descr *descr = layout->descr;
    if (PyDataType_ELSIZE(descr) != 0 || (descr->type_num != NPY_STRING && descr->type_num != NPY_UNICODE))
        return 0;
    PyArray_Descr *one = PyArray_DescrNew(descr);
    if (one == NULL)
        return -1;
    PyDataType_SET_ELSIZE(one, descr->type_num == NPY_STRING ? 1 : 4);
    Py_DECREF(descr);
    layout->descr = one;
    return 0;
}

static int count_bytes(struct layout *layout)
{
    size_t nbytes = (size_t)PyDataType_ELSIZE(layout->descr);
    bool empty = false;
    for (int axis = 0; axis < layout->ndim; axis++) {
        npy_intp length = layout->shape[axis];
        if (length < 0) {
            PyErr_SetString(PyExc_ValueError, "negative dimensions are not allowed");
            return -1;
        }
        if (length == 0)
            empty = true;
        else if (__builtin_mul_overflow(nbytes, (size_t)length, &nbytes) || nbytes > PY_SSIZE_T_MAX) {
            PyErr_SetString(PyExc_ValueError, "array is too big; `arr.size * arr.dtype.itemsize` is larger than "
                                              "the maximum possible size.");
            return -1;
        }
    }
    layout->nbytes = empty ? 0 : nbytes;
    return 0;
}

int layout_parse(PyObject *shape, PyObject *dtype, PyObject *order, struct layout *layout)
{
    NPY_ORDER parsed = NPY_CORDER;
    *layout = (struct layout){0};
    if (!PyArray_OrderConverter(order, &parsed) || !PyArray_DescrConverter(dtype, &layout->descr))
        goto fail;
    if (parsed != NPY_CORDER && parsed != NPY_FORTRANORDER) {
        PyErr_SetString(PyExc_ValueError, "only 'C' or 'F' order is permitted");
        goto fail;
    }
    layout->fortran = parsed == NPY_FORTRANORDER;
    if (PyDataType_REFCHK(layout->descr)) {
        PyErr_Format(PyExc_TypeError, "dtype %R holds references to objects outside of the array: locking the array "
                                      "would not lock them", layout->descr);
        goto fail;
    }
    layout->ndim = PyArray_IntpFromSequence(shape, layout->shape, NPY_MAXDIMS);
    if (layout->ndim < 0 || settle_flexible(layout) < 0 || count_bytes(layout) < 0)
        goto fail;
    return 0;
fail:
    layout_clear(layout);
    return -1;
}

void layout_clear(struct layout *layout)
{
    Py_CLEAR(layout->descr);
}

PyObject *array_in_region(struct region *region, const struct layout *layout)
{
    static npy_intp still[NPY_MAXDIMS]; /* NumPy's own strides for an array without bytes */
    npy_intp *strides = layout->nbytes == 0 ? still : NULL;
    void *data = (void *)region->address;
    PyObject *base = region_object(region);
    if (base == NULL)
        return NULL;
    Py_INCREF((PyObject *)layout->descr); /* the array takes one */
    int flags = layout->fortran ? NPY_ARRAY_FARRAY : NPY_ARRAY_CARRAY;
    PyObject *array = PyArray_NewFromDescr(&PyArray_Type, layout->descr, layout->ndim, (npy_intp *)layout->shape,
                                           strides, data, flags, NULL);
    if (array == NULL)
        Py_DECREF(base);
    else if (PyArray_SetBaseObject((PyArrayObject *)array, base) < 0)
        Py_CLEAR(array);
    return array;
}

static bool has_room(size_t nbytes)
{
    if (nbytes <= LARGE)
        return true;
    PyObject *checked = PyObject_CallFunction(errors.check_room, "n", (Py_ssize_t)nbytes);
    Py_XDECREF(checked);
    return checked != NULL;
}

/* empty(shape, dtype, order, flags) */
static PyObject *native_empty(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct layout layout;
    struct failure failure;
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "empty(shape, dtype, order, flags)");
        return NULL;
    }
    long flags = PyLong_AsLong(args[3]);
    if ((flags == -1 && PyErr_Occurred()) || layout_parse(args[0], args[1], args[2], &layout) < 0)
        return NULL;
    struct region_request request = {
        .nbytes = layout.nbytes,
        .alignment = (size_t)PyDataType_ALIGNMENT(layout.descr),
        .guard = flags & REGION_GUARD,
        .huge = flags & REGION_HUGE,
        .shared = flags & REGION_SHARED,
        .unlocked = flags & REGION_UNLOCKED,
    };
    PyObject *array = NULL;
    if (has_room(request.nbytes)) {
        struct region *region;
        Py_BEGIN_ALLOW_THREADS
        region = region_create(&request, &failure);
        Py_END_ALLOW_THREADS
        array = region == NULL ? raise_refused(failure.call, failure.error, request.nbytes)
                               : array_in_region(region, &layout);
    }
    layout_clear(&layout);
    return array;
}

static PyMethodDef empty_def = {"empty", FASTCALL(native_empty), METH_FASTCALL, NULL};

int region_objects_init(PyObject *module)
{
    if (registry_init() < 0) {
        PyErr_NoMemory(); /* the only failure that pthread_atfork knows */
        return -1;
    }
    if (add_type(module, &region_spec, &region_type) < 0)
        return -1;
    PyObject *function = PyCFunction_New(&empty_def, NULL);
    int status = function == NULL ? -1 : PyModule_AddObjectRef(module, "empty", function);
    Py_XDECREF(function);
    return status;
}
