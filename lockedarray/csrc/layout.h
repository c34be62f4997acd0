/* How an array lies in its memory: what NumPy makes of a shape, a dtype and an order. */
#ifndef LOCKEDARRAY_LAYOUT_H
#define LOCKEDARRAY_LAYOUT_H

#include "objects.h"

struct layout {
    PyArray_Descr *descr;
    int ndim;
    npy_intp shape[NPY_MAXDIMS];
    int contiguous; /* NumPy's flag for C or Fortran order; 0: as `strides` tells, which it alone needs */
    npy_intp strides[NPY_MAXDIMS];
    size_t nbytes;
};

/* -1 and an exception, or 0. */
int layout_init(void);

/* As np.empty takes them; order may be NULL, for C. A dtype that holds references: TypeError, for their objects lie elsewhere. */
int layout_parse(PyObject *shape, PyObject *dtype, PyObject *order, struct layout *layout);

/* As np.empty_like takes them: dtype and shape may be None. */
int layout_parse_like(PyArrayObject *prototype, PyObject *dtype, PyObject *order, PyObject *shape,
                      struct layout *layout);

void layout_clear(struct layout *layout);

/* An array of that layout over memory that it does not own. With a prototype it is of that class. */
PyObject *layout_array_at(const struct layout *layout, void *data, PyArrayObject *prototype);

/* An array of that layout at the beginning of the Region `base`, which this steals; where base is NULL an exception is
   set already. */
PyObject *layout_array(const struct layout *layout, PyObject *base, PyArrayObject *prototype);

#endif
