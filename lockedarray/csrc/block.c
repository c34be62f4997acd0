#include "block.h"

void block_refuse_type(const struct block_format *format, PyObject *object, const char *name)
{
    if (!PyArray_Check(object))
        PyErr_Format(PyExc_TypeError, "%s must be a numpy.ndarray of %S, not %R", name, (PyObject *)format->descr,
                     (PyObject *)Py_TYPE(object));
    else
        PyErr_Format(PyExc_TypeError, "%s must have the %s's dtype, %S, not %S", name, format->owner,
                     (PyObject *)format->descr, (PyObject *)PyArray_DESCR((PyArrayObject *)object));
}

void block_refuse_shape(const struct block_format *format, PyArrayObject *array, const char *name)
{
    PyObject *shape = PyArray_IntTupleFromIntp(PyArray_NDIM(array), PyArray_DIMS(array));
    if (shape != NULL && !format->columns)
        PyErr_Format(PyExc_ValueError, "%s must have the shape (frames,), not %R", name, shape);
    else if (shape != NULL)
        PyErr_Format(PyExc_ValueError, "%s must have the shape (frames, %zd)%s, not %R", name, format->channels,
                     format->channels == 1 ? " or (frames,)" : "", shape);
    Py_XDECREF(shape);
}
