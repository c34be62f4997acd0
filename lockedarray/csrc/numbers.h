/* Real numbers that come from Python: a number, an array of any real dtype and layout, or what NumPy makes one of. */
#ifndef LOCKEDARRAY_NUMBERS_H
#define LOCKEDARRAY_NUMBERS_H

#include "objects.h"
#include "strided.h"

struct numbers {
    PyArrayObject *array; /* a new reference */
    enum element element;
    struct strided elements; /* not set where there are none */
};

/* Open what `name` was given. Complex numbers, objects and texts: TypeError. Allocates nothing for an ndarray, unless
   it is float16 or of the other byte order, and runs the object's own Python code to make one. */
int numbers_open(PyObject *object, const char *name, struct numbers *numbers);

/* Go on from a copy, if writing to out would change what is still to be read. */
int numbers_keep_from(struct numbers *numbers, const struct strided *out);

/* Is it a float or an int (Python's; np.float64 is one)? Then numbers_one() makes no array of it. */
bool numbers_is_plain(PyObject *object);
int numbers_one(PyObject *object, const char *name, double *number);

/* Unless the array is empty. */
void numbers_describe(PyArrayObject *array, struct strided *elements);

#endif
