/* A ring's memory: one page of this process, one page that is shared, and the data, mapped twice in a row:

       | private page | shared page | data | data again |
                      |------ file ------|

   Any run of up to data_bytes is contiguous wherever it starts. The whole is twice (one page + data_bytes). */
#ifndef LOCKEDARRAY_MIRROR_H
#define LOCKEDARRAY_MIRROR_H

#include "os.h"

struct failure;

/* The file behind a mirror: a descriptor, or -errno with *failure set. */
int mirror_file(size_t data_bytes, struct failure *failure);

/* Map it over what is mapped at `at`; -errno with *failure set leaves there something, but not a mirror. */
int mirror_map_over(uintptr_t at, size_t data_bytes, int fd, struct failure *failure);

size_t mirror_bytes(size_t data_bytes);
uintptr_t mirror_shared_page(uintptr_t at);
uintptr_t mirror_data(uintptr_t at);

#endif
