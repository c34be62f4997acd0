/* A region as Python sees it. */
#ifndef LOCKEDARRAY_REGION_OBJECTS_H
#define LOCKEDARRAY_REGION_OBJECTS_H

#include "objects.h"
#include "region.h"

/* The flags that Python passes. */
enum { REGION_GUARD = 1, REGION_HUGE = 2, REGION_SHARED = 4, REGION_UNLOCKED = 8 };

/* Steals the region, also on failure. */
PyObject *region_object(struct region *region);

/* False, with an exception, where so much would call the OOM killer. */
bool region_has_room(size_t nbytes);

/* A new Region that asks for so many bytes of locked memory: the GIL is given up meanwhile. Raises. */
PyObject *region_make(const struct region_request *request, size_t asked);

/* Its first byte that is locked: of a mirror, its private page. */
uintptr_t region_start(PyObject *region);

/* Where its data begins. */
uintptr_t region_address(PyObject *region);

#endif
