/* A heap as NumPy's data allocator (NEP 49). */
#ifndef LOCKEDARRAY_NUMPY_HANDLER_H
#define LOCKEDARRAY_NUMPY_HANDLER_H

#include "objects.h"

#include "heap.h"

/* A capsule that owns the heap: each array that NumPy makes with it keeps it, so that the heap goes with the last of
   them, in whatever thread that dies. Steals the heap, also on failure. */
PyObject *numpy_handler_new(struct heap *heap);

/* Let NumPy allocate with this capsule in the present context from now on; returns the one before. */
PyObject *numpy_handler_set(PyObject *capsule);

/* Whether NumPy allocates with it in the present context; -1 with an exception. */
int numpy_handler_is_set(PyObject *capsule);

/* Make a payload of the heap an array's own data, as if NumPy had allocated it. */
void numpy_handler_adopt(PyObject *capsule, PyArrayObject *array);

#endif
