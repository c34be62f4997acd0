/* A region as Python sees it, and the arrays that lie in one. */
#ifndef LOCKEDARRAY_REGION_OBJECTS_H
#define LOCKEDARRAY_REGION_OBJECTS_H

#include "objects.h"
#include "region.h"

/* The flags that Python passes. */
enum { REGION_GUARD = 1, REGION_HUGE = 2, REGION_SHARED = 4, REGION_UNLOCKED = 8 };

/* Steals the region, also on failure. */
PyObject *region_object(struct region *region);

/* A shape and a dtype as np.empty takes them, and the bytes they come to. */
struct layout {
    PyArray_Descr *descr;
    int ndim;
    npy_intp shape[NPY_MAXDIMS];
    bool fortran;
    size_t nbytes;
};
int layout_parse(PyObject *shape, PyObject *dtype, PyObject *order, struct layout *layout);
void layout_clear(struct layout *layout);

/* An array over the whole region. Steals the region. */
PyObject *array_in_region(struct region *region, const struct layout *layout);

#endif
