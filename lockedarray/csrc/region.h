/* A region: a run of whole pages with one owner, from the system, from a pool, or borrowed from somebody else. */
#ifndef LOCKEDARRAY_REGION_H
#define LOCKEDARRAY_REGION_H

#include "os.h"
#include "registry.h"

struct pool;

struct region {
    struct hold hold;       /* the pages that are resident and locked */
    uintptr_t map_start;    /* what is unmapped in the end: the pages and, */
    size_t map_bytes;       /* with a guard, inaccessible ones around them; 0: borrowed, or empty */
    uintptr_t address;      /* the data */
    size_t nbytes;
    bool guard, shared, readonly;
    bool refused;           /* munmap failed once: counted in the pool's unreturned */
    struct pool *pool;      /* whose pages these were, or NULL */
    struct region *next;    /* in the list of those that the kernel did not take back */
};

struct region_request {
    size_t nbytes;
    size_t alignment;  /* of the data, where a guard makes it end on a page */
    bool guard, huge;
    bool shared;       /* with forked children */
    bool mirrored;     /* a ring's memory, see mirror.h: */
    int fd;            /* the file behind it */
    bool unlocked;     /* prefaulted only */
};

/* A failed call: its name, for the message, and -errno. */
struct failure {
    const char *call;
    int error;
};

/* nbytes in whole pages, or 0 where that overflows. */
size_t region_pages(size_t nbytes);

/* Map, lock and prefault. May take long: not with the GIL. NULL with *failure set. */
struct region *region_create(const struct region_request *request, struct failure *failure);

/* Lock memory that exists already. May take long: not with the GIL. */
struct region *region_borrow(uintptr_t start, size_t bytes, bool repair, struct failure *failure);

/* Give the pages back and free the region. Never fails: what the kernel refuses to take back is kept, counted,
   and tried again at every later release and creation. */
void region_release(struct region *region);

/* Give a borrowed region back, or fail with -errno and leave it as it is. */
int region_return(struct region *region);

/* Read-only from now on, by mprotect. */
int region_protect(struct region *region);

/* Try again to give back what the kernel refused. */
void region_retry(void);

#endif
