/* A pool: one locked region from whose front arrays are cut off. Nothing is ever handed out twice: what comes
   back goes to the system, so a page of a pool is always fresh and zero. */
#ifndef LOCKEDARRAY_POOL_H
#define LOCKEDARRAY_POOL_H

#include "region.h"

struct pool;

struct pool_figures {
    size_t capacity, in_use, available, returned, unreturned, peak;
    bool closed;
};

enum pool_refusal { POOL_CLOSED = 1, POOL_EXHAUSTED, POOL_OF_PARENT, POOL_NO_MEMORY };

struct pool *pool_create(const struct region_request *request, struct failure *failure);

/* Cut off nbytes, in whole pages; no system call, no fault. NULL with *refusal set. */
struct region *pool_take(struct pool *pool, size_t nbytes, enum pool_refusal *refusal);

/* A ring's memory, of that file, in place of as many of the pool's own pages: the locked total does not change. May take long:
   not with the GIL. NULL with *refusal set, or 0 there and *failure. */
struct region *pool_take_mirror(struct pool *pool, size_t data_bytes, int fd, enum pool_refusal *refusal,
                                struct failure *failure);

/* Give nothing from now on, and what is free back to the system. Again: nothing happens. */
void pool_close(struct pool *pool);

/* The pool lives as long as its owner or any region of it. */
void pool_release(struct pool *pool);

struct pool_figures pool_figures(struct pool *pool);

/* From region.c: the pages of a region were unmapped; or the kernel would not. */
void pool_returned(struct pool *pool, const struct region *region);
void pool_refused(struct pool *pool, struct region *region);

#endif
