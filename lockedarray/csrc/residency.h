/* The kernel's word on pages: resident, locked, huge. */
#ifndef LOCKEDARRAY_RESIDENCY_H
#define LOCKEDARRAY_RESIDENCY_H

#include <sys/types.h>

#include "os.h"

/* Bytes of the range that huge pages map, or -errno. Before Linux 6.7 a lower bound: what is certain. */
ssize_t residency_huge_bytes(uintptr_t start, size_t bytes);

#endif
