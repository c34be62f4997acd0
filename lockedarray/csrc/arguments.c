#include "arguments.h"

static int place(const struct signature *s, PyObject **values, Py_ssize_t k, PyObject *value)
{
    if (k >= s->positional) {
        PyErr_Format(PyExc_TypeError, "%s takes at most %d positional argument%s", s->function, s->positional,
                     s->positional == 1 ? "" : "s");
        return -1;
    }
    values[k] = value;
    return 0;
}

static int place_named(const struct signature *s, PyObject **values, PyObject *name, PyObject *value)
{
    int k = 0;
    while (k < s->arguments && PyUnicode_CompareWithASCIIString(name, s->names[k]) != 0)
        k++;
    if (k == s->arguments || values[k] != NULL) {
        const char *what = k == s->arguments ? "an unexpected keyword" : "multiple values for";
        PyErr_Format(PyExc_TypeError, "%s got %s argument '%U'", s->function, what, name);
        return -1;
    }
    values[k] = value;
    return 0;
}

static int check_missing(const struct signature *s, PyObject **values)
{
    for (int k = 0; k < s->required; k++)
        if (values[k] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s missing required argument: '%s'", s->function, s->names[k]);
            return -1;
        }
    return 0;
}

int arguments_from_vector(const struct signature *s, PyObject **values, PyObject *const *args, Py_ssize_t count,
                          PyObject *names)
{
    for (Py_ssize_t k = 0; k < count; k++)
        if (place(s, values, k, args[k]) < 0)
            return -1;
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    for (Py_ssize_t k = 0; k < named; k++)
        if (place_named(s, values, PyTuple_GetItem(names, k), args[count + k]) < 0)
            return -1;
    return check_missing(s, values);
}

int arguments_from_tuple(const struct signature *s, PyObject **values, PyObject *args, PyObject *keywords)
{
    PyObject *name, *value;
    Py_ssize_t count = PyTuple_Size(args), at = 0;
    for (Py_ssize_t k = 0; k < count; k++)
        if (place(s, values, k, PyTuple_GetItem(args, k)) < 0)
            return -1;
    while (keywords != NULL && PyDict_Next(keywords, &at, &name, &value))
        if (place_named(s, values, name, value) < 0)
            return -1;
    return check_missing(s, values);
}
