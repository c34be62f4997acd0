/* A pool as Python sees it. */
#ifndef LOCKEDARRAY_POOL_OBJECTS_H
#define LOCKEDARRAY_POOL_OBJECTS_H

#include "objects.h"

/* A Region of a pool for a ring's memory, of that file, in place of as many of the pool's own pages. Raises. */
PyObject *region_of_pool(PyObject *pool, size_t data_bytes, int fd);

#endif
