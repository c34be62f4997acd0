#include "numbers.h"

/* -1: NumPy has to convert it. */
static int element_of(PyArrayObject *array)
{
    _Static_assert(sizeof(long) == 8 && sizeof(long long) == 8, "64 bits");
    static const int elements[] = {
        [NPY_BOOL] = ELEMENT_UINT8,     [NPY_BYTE] = ELEMENT_INT8,        [NPY_UBYTE] = ELEMENT_UINT8,
        [NPY_SHORT] = ELEMENT_INT16,    [NPY_USHORT] = ELEMENT_UINT16,    [NPY_INT] = ELEMENT_INT32,
        [NPY_UINT] = ELEMENT_UINT32,    [NPY_LONG] = ELEMENT_INT64,       [NPY_ULONG] = ELEMENT_UINT64,
        [NPY_LONGLONG] = ELEMENT_INT64, [NPY_ULONGLONG] = ELEMENT_UINT64, [NPY_FLOAT] = ELEMENT_FLOAT,
        [NPY_DOUBLE] = ELEMENT_DOUBLE,  [NPY_LONGDOUBLE] = ELEMENT_LONG_DOUBLE,
    };
    int type = PyArray_TYPE(array);
    return type == NPY_HALF || PyArray_ISBYTESWAPPED(array) ? -1 : elements[type];
}

static bool is_real(PyArrayObject *array)
{
    int type = PyArray_TYPE(array);
    return PyTypeNum_ISBOOL(type) || PyTypeNum_ISINTEGER(type) || PyTypeNum_ISFLOAT(type);
}

void numbers_describe(PyArrayObject *array, struct strided *elements)
{
    if (PyArray_SIZE(array) > 0)
        strided_init(elements, PyArray_DATA(array), (size_t)PyArray_ITEMSIZE(array), PyArray_NDIM(array),
                     PyArray_DIMS(array), PyArray_STRIDES(array));
}

/* Take over a new reference, or NULL. */
static int settle(struct numbers *numbers, PyObject *array)
{
    if (array == NULL)
        return -1;
    numbers->array = (PyArrayObject *)array;
    numbers->element = (enum element)element_of(numbers->array);
    numbers_describe(numbers->array, &numbers->elements);
    return 0;
}

int numbers_open(PyObject *object, const char *name, struct numbers *numbers)
{
    PyObject *found = PyArray_Check(object) ? Py_NewRef(object) : PyArray_FromAny(object, NULL, 0, 0, 0, NULL);
    PyArrayObject *array = (PyArrayObject *)found;
    if (array == NULL)
        return -1;
    if (!is_real(array)) {
        PyErr_Format(PyExc_TypeError, "%s must be real numbers, not %S", name, (PyObject *)PyArray_DESCR(array));
        Py_DECREF(found);
        return -1;
    }
    if (element_of(array) >= 0)
        return settle(numbers, found);
    int flags = NPY_ARRAY_FORCECAST | NPY_ARRAY_ENSUREARRAY;
    PyObject *native = PyArray_FromArray(array, PyArray_DescrFromType(NPY_DOUBLE), flags);
    Py_DECREF(found);
    return settle(numbers, native);
}

int numbers_keep_from(struct numbers *numbers, const struct strided *out)
{
    if (strided_is_safe(&numbers->elements, out))
        return 0;
    PyArrayObject *from = numbers->array;
    /* Of a subclass a plain array: its own __array_finalize__ could give out other memory. */
    int flags = NPY_ARRAY_ENSURECOPY | NPY_ARRAY_ENSUREARRAY;
    if (settle(numbers, PyArray_FromArray(from, NULL, flags)) < 0)
        return -1;
    Py_DECREF(from);
    return 0;
}

bool numbers_is_plain(PyObject *object)
{
    return PyFloat_Check(object) || PyLong_Check(object);
}

int numbers_one(PyObject *object, const char *name, double *number)
{
    if (numbers_is_plain(object)) {
        *number = PyFloat_AsDouble(object);
        return *number == -1 && PyErr_Occurred() ? -1 : 0;
    }
    struct numbers numbers;
    if (numbers_open(object, name, &numbers) < 0)
        return -1;
    bool one = PyArray_NDIM(numbers.array) == 0;
    if (one)
        strided_load(&numbers.elements, numbers.element, number, 1);
    else
        PyErr_Format(PyExc_TypeError, "%s must be a number, not an array", name);
    Py_DECREF(numbers.array);
    return one ? 0 : -1;
}
