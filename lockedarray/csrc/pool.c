#include "pool.h"

#include <errno.h>
#include <stdlib.h>

#include "mirror.h"

/* All of it is guarded by the registry's mutex: regions come back in any thread, with the GIL or without. */
struct pool {
    struct region *reserve; /* what is free; NULL when closed */
    size_t capacity, in_use, returned, unreturned, peak;
    size_t references;
    bool shared;
    uint32_t epoch; /* the process that may take from it */
};

static size_t region_size(const struct region *region)
{
    return region->hold.end - region->hold.start;
}

struct pool *pool_create(const struct region_request *request, struct failure *failure)
{
    *failure = (struct failure){"mmap", -ENOMEM};
    struct pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->reserve = region_create(request, failure);
    if (pool->reserve == NULL) {
        free(pool);
        return NULL;
    }
    pool->capacity = region_size(pool->reserve);
    pool->references = 1;
    pool->shared = request->shared;
    pool->epoch = registry_epoch();
    return pool;
}

static void count_taken(struct pool *pool, size_t bytes)
{
    pool->references++;
    pool->in_use += bytes;
    if (pool->peak < pool->in_use)
        pool->peak = pool->in_use;
}

static void move_front(struct region *reserve, ptrdiff_t bytes)
{
    reserve->map_start += (uintptr_t)bytes;
    reserve->map_bytes -= (size_t)bytes;
    reserve->address = reserve->map_start;
    reserve->nbytes = reserve->map_bytes;
}

static enum pool_refusal why_not(const struct pool *pool, size_t pages, size_t nbytes)
{
    if (pool->reserve == NULL)
        return POOL_CLOSED;
    /* Parent and child would hand out the same pages; and the child's are not locked. */
    if (pool->epoch != registry_epoch())
        return POOL_OF_PARENT;
    if ((pages == 0 && nbytes > 0) || pages > region_size(pool->reserve))
        return POOL_EXHAUSTED;
    return 0;
}

struct region *pool_take(struct pool *pool, size_t nbytes, enum pool_refusal *refusal)
{
    size_t pages = region_pages(nbytes);
    struct region *region = malloc(sizeof *region);
    if (region == NULL) {
        *refusal = POOL_NO_MEMORY;
        return NULL;
    }
    registry_enter();
    *refusal = why_not(pool, pages, nbytes);
    if (*refusal == 0) {
        registry_split(&pool->reserve->hold, &region->hold, pages);
        move_front(pool->reserve, (ptrdiff_t)pages);
        count_taken(pool, pages);
    }
    registry_leave();
    if (*refusal != 0) {
        free(region);
        return NULL;
    }
    region->map_start = region->address = region->hold.start;
    region->map_bytes = pages;
    region->nbytes = nbytes;
    region->guard = region->readonly = region->refused = false;
    region->shared = pool->shared;
    region->pool = pool;
    region->next = NULL;
    return region;
}

/* Put back what was just taken, if nothing was taken since: the pool is as it was. */
static bool put_back(struct pool *pool, struct region *region)
{
    registry_enter();
    bool last = pool->reserve != NULL && pool->reserve->hold.start == region->hold.end;
    if (last) {
        registry_join(&region->hold, &pool->reserve->hold);
        move_front(pool->reserve, -(ptrdiff_t)region->map_bytes);
        pool->in_use -= region->map_bytes;
        pool->references--;
    }
    registry_leave();
    if (last)
        free(region);
    return last;
}

/* Replaces locked pages by others that are locked: with the gate closed, nobody else of ours takes their share
   of the limit in between. */
static int replace_by_mirror(struct region *region, size_t data_bytes, int fd, struct failure *failure)
{
    uintptr_t start = region->hold.start;
    size_t bytes = region_size(region);
    bool locked = region->hold.locked;
    registry_close_gate();
    int error = mirror_map_over(start, data_bytes, fd, failure);
    if (error == 0) {
        error = locked ? os_lock(start, bytes) : os_prefault(start, bytes);
        *failure = (struct failure){locked ? "mlock" : "madvise", error};
    }
    if (error < 0) {
        /* Fresh pages of the pool's again, or none: then the caller gives the addresses back. */
        int mapped = os_map_over(start, bytes, region->shared);
        if (locked && (mapped < 0 || os_lock(start, bytes) < 0))
            registry_mark_unlocked(&region->hold);
    }
    registry_open_gate();
    return error;
}

struct region *pool_take_mirror(struct pool *pool, size_t data_bytes, int fd, enum pool_refusal *refusal,
                                struct failure *failure)
{
    struct region *region = pool_take(pool, mirror_bytes(data_bytes), refusal);
    if (region != NULL) {
        bool locked = region->hold.locked;
        if (replace_by_mirror(region, data_bytes, fd, failure) < 0) {
            if (region->hold.locked != locked || !put_back(pool, region))
                region_release(region);
            region = NULL;
        } else {
            region->address = mirror_data(region->hold.start);
            region->nbytes = 2 * data_bytes;
            region->shared = true;
            registry_set_repair(&region->hold, true); /* its private page, whatever the pool is */
        }
    }
    return region;
}

void pool_close(struct pool *pool)
{
    registry_enter();
    struct region *reserve = pool->reserve;
    pool->reserve = NULL;
    if (reserve != NULL) {
        reserve->pool = pool;
        pool->references++;
        pool->in_use += region_size(reserve); /* until region_release has given it back */
    }
    registry_leave();
    if (reserve != NULL)
        region_release(reserve);
}

static void drop_reference(struct pool *pool)
{
    bool last = --pool->references == 0;
    registry_leave();
    if (last)
        free(pool);
}

void pool_release(struct pool *pool)
{
    pool_close(pool);
    registry_enter();
    drop_reference(pool);
}

void pool_returned(struct pool *pool, const struct region *region)
{
    size_t bytes = region_size(region);
    registry_enter();
    pool->in_use -= bytes;
    pool->returned += bytes;
    if (region->refused)
        pool->unreturned -= bytes;
    drop_reference(pool);
}

void pool_refused(struct pool *pool, struct region *region)
{
    registry_enter();
    region->refused = true;
    pool->unreturned += region_size(region);
    registry_leave();
}

struct pool_figures pool_figures(struct pool *pool)
{
    registry_enter();
    struct pool_figures figures = {
        .capacity = pool->capacity,
        .in_use = pool->in_use,
        .available = pool->reserve == NULL ? 0 : region_size(pool->reserve),
        .returned = pool->returned,
        .unreturned = pool->unreturned,
        .peak = pool->peak,
        .closed = pool->reserve == NULL,
    };
    registry_leave();
    return figures;
}
