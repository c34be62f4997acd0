#include "layout.h"

#include "region_objects.h"

static PyObject *usual_order; /* "C", interned */

int layout_init(void)
{
    usual_order = PyUnicode_InternFromString("C");
    return usual_order == NULL ? -1 : 0;
}

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

/* The prototype's axes from the largest stride to the smallest; equal ones keep their order. */
static void lay_out_like(struct layout *layout, PyArrayObject *prototype)
{
    int outer[NPY_MAXDIMS]; /* the slowest axis first */
    for (int axis = 0; axis < layout->ndim; axis++) {
        npy_intp stride = Py_ABS(PyArray_STRIDE(prototype, axis));
        int i = axis;
        for (; i > 0 && Py_ABS(PyArray_STRIDE(prototype, outer[i - 1])) < stride; i--)
            outer[i] = outer[i - 1];
        outer[i] = axis;
    }
    npy_intp stride = layout->nbytes == 0 ? 0 : PyDataType_ELSIZE(layout->descr); /* as NumPy's, without bytes */
    for (int i = layout->ndim - 1; i >= 0; i--) {
        layout->strides[outer[i]] = stride;
        stride *= layout->shape[outer[i]];
    }
    layout->contiguous = 0;
}

static void lay_out_evenly(struct layout *layout, bool fortran)
{
    layout->contiguous = fortran ? NPY_ARRAY_F_CONTIGUOUS : NPY_ARRAY_C_CONTIGUOUS;
    if (layout->nbytes > 0)
        return;
    layout->contiguous = 0; /* NumPy's own arrays without bytes have no strides either */
    for (int axis = 0; axis < layout->ndim; axis++)
        layout->strides[axis] = 0;
}

static int settle(struct layout *layout)
{
    if (PyDataType_REFCHK(layout->descr)) {
        PyErr_Format(PyExc_TypeError,
                     "dtype %R holds references to objects outside of the array: locking the array "
                     "would not lock them",
                     (PyObject *)layout->descr);
        return -1;
    }
    return settle_flexible(layout) < 0 ? -1 : count_bytes(layout);
}

/* PyArray_IntpFromSequence tells the true length, also of what it had no room for. */
static int parse_shape(PyObject *shape, struct layout *layout)
{
    layout->ndim = PyArray_IntpFromSequence(shape, layout->shape, NPY_MAXDIMS);
    if (layout->ndim <= NPY_MAXDIMS)
        return layout->ndim < 0 ? -1 : 0;
    PyErr_Format(PyExc_ValueError, "maximum supported dimension for an ndarray is %d, found %d", NPY_MAXDIMS,
                 layout->ndim);
    return -1;
}

int layout_parse(PyObject *shape, PyObject *dtype, PyObject *order, struct layout *layout)
{
    NPY_ORDER parsed = NPY_CORDER;
    layout->descr = NULL;
    bool usual = order == NULL || order == usual_order;
    if ((!usual && !PyArray_OrderConverter(order, &parsed)) || !PyArray_DescrConverter(dtype, &layout->descr))
        goto fail;
    if (parsed != NPY_CORDER && parsed != NPY_FORTRANORDER) {
        PyErr_SetString(PyExc_ValueError, "only 'C' or 'F' order is permitted");
        goto fail;
    }
    if (parse_shape(shape, layout) < 0 || settle(layout) < 0)
        goto fail;
    lay_out_evenly(layout, parsed == NPY_FORTRANORDER);
    return 0;
fail:
    layout_clear(layout);
    return -1;
}

int layout_parse_like(PyArrayObject *prototype, PyObject *dtype, PyObject *order, PyObject *shape,
                      struct layout *layout)
{
    NPY_ORDER parsed = NPY_KEEPORDER;
    layout->descr = NULL;
    if (!PyArray_OrderConverter(order, &parsed) || !PyArray_DescrConverter2(dtype, &layout->descr))
        goto fail;
    if (layout->descr == NULL)
        layout->descr = (PyArray_Descr *)Py_NewRef((PyObject *)PyArray_DESCR(prototype));
    layout->ndim = PyArray_NDIM(prototype);
    for (int axis = 0; axis < layout->ndim; axis++)
        layout->shape[axis] = PyArray_DIM(prototype, axis);
    if ((shape != Py_None && parse_shape(shape, layout) < 0) || settle(layout) < 0)
        goto fail;
    bool only_fortran = PyArray_ISFORTRAN(prototype);
    bool keep = parsed == NPY_KEEPORDER && layout->ndim == PyArray_NDIM(prototype);
    if (keep && !PyArray_IS_C_CONTIGUOUS(prototype) && !only_fortran)
        lay_out_like(layout, prototype);
    else
        lay_out_evenly(layout, parsed == NPY_FORTRANORDER || (only_fortran && (keep || parsed == NPY_ANYORDER)));
    return 0;
fail:
    layout_clear(layout);
    return -1;
}

void layout_clear(struct layout *layout)
{
    Py_CLEAR(layout->descr);
}

PyObject *layout_array_at(const struct layout *layout, void *data, PyArrayObject *prototype)
{
    PyTypeObject *type = prototype == NULL ? &PyArray_Type : Py_TYPE((PyObject *)prototype);
    Py_INCREF((PyObject *)layout->descr); /* the array takes one */
    const npy_intp *strides = layout->contiguous ? NULL : layout->strides;
    /* NumPy looks at the address only where it gets strides: our memory is aligned for the dtype anyway. */
    int flags = layout->contiguous | NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE;
    return PyArray_NewFromDescr(type, layout->descr, layout->ndim, (npy_intp *)layout->shape, (npy_intp *)strides,
                                data, flags, (PyObject *)prototype);
}

PyObject *layout_array(const struct layout *layout, PyObject *base, PyArrayObject *prototype)
{
    if (base == NULL)
        return NULL;
    PyObject *array = layout_array_at(layout, (void *)region_address(base), prototype);
    if (array == NULL)
        Py_DECREF(base);
    else if (PyArray_SetBaseObject((PyArrayObject *)array, base) < 0)
        Py_CLEAR(array);
    return array;
}
