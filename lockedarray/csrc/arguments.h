/* A call's arguments, each in its place. The limited API's own parsers take a tuple, and make strings of the names. */
#ifndef LOCKEDARRAY_ARGUMENTS_H
#define LOCKEDARRAY_ARGUMENTS_H

#include "objects.h"

struct signature {
    const char *function; /* for messages */
    int positional, required; /* the others by name only, and with a default */
    int arguments;
    const char *names[3];
};

/* Put borrowed references into values, which are NULL before, and stay so for what is not given. TypeError as Python's
   own. The first is for METH_FASTCALL | METH_KEYWORDS and vectorcall, the second for tp_call. */
int arguments_from_vector(const struct signature *s, PyObject **values, PyObject *const *args, Py_ssize_t count,
                          PyObject *names);
int arguments_from_tuple(const struct signature *s, PyObject **values, PyObject *args, PyObject *keywords);

#endif
