#include "region.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "mirror.h"
#include "pool.h"

#define HUGE_PAGE ((size_t)2 << 20)

/* What munmap or munlock refused. Taken whole and put back whole, so that no finalizer waits here.
   Release publishes a region's fields to the acquire in whoever takes it from the list. */
static _Atomic(struct region *) refused;

/* To a multiple of a power of two. */
static size_t round_up(size_t value, size_t power)
{
    return (value + power - 1) & ~(power - 1);
}

size_t region_pages(size_t nbytes)
{
    /* Half the address space is more than any mapping, and leaves room for guards and mirrors below. */
    return nbytes <= SIZE_MAX / 4 ? round_up(nbytes, os_page()) : 0;
}

/* Making. */

/* All zeros. Not calloc, which until glibc 2.41 passes by the thread's cache of what was freed. */
static struct region *new_region(void)
{
    struct region *region = malloc(sizeof *region);
    if (region != NULL)
        *region = (struct region){0};
    return region;
}

/* Guards are what is left inaccessible of a larger reservation; so is what aligns a huge page. */
static int map_within_reservation(struct region *region, size_t pages, const struct region_request *request)
{
    size_t around = request->guard ? os_page() : 0;
    size_t alignment = request->huge ? HUGE_PAGE : os_page();
    uintptr_t reserved;
    size_t total = pages + 2 * around + alignment - os_page();
    int error = os_reserve(&reserved, total, request->shared);
    if (error < 0)
        return error;
    uintptr_t start = round_up(reserved + around, alignment);
    uintptr_t first = start - around, last = start + pages + around;
    error = os_protect(start, pages, true);
    if (error == 0 && first > reserved)
        error = os_unmap(reserved, first - reserved);
    if (error == 0 && last < reserved + total)
        error = os_unmap(last, reserved + total - last);
    if (error < 0) {
        os_unmap(reserved, total);
        return error;
    }
    region->map_start = first;
    region->map_bytes = last - first;
    region->hold.start = start;
    return 0;
}

static int map_mirror(struct region *region, size_t data_bytes, int fd, struct failure *failure)
{
    region->map_bytes = mirror_bytes(data_bytes);
    int error = os_reserve(&region->map_start, region->map_bytes, false);
    if (error == 0) {
        error = mirror_map_over(region->map_start, data_bytes, fd, failure);
        if (error < 0)
            os_unmap(region->map_start, region->map_bytes);
    }
    region->hold.start = region->map_start;
    return error;
}

static int map(struct region *region, size_t pages, const struct region_request *request, struct failure *failure)
{
    failure->call = "mmap";
    if (request->mirrored)
        return map_mirror(region, pages, request->fd, failure);
    if (request->guard || (request->huge && pages >= HUGE_PAGE))
        return map_within_reservation(region, pages, request);
    region->map_bytes = pages;
    int error = os_map(&region->map_start, pages, request->shared);
    region->hold.start = region->map_start;
    return error;
}

/* NumPy wants an address for an empty array too: one page for all of them, never touched and never unmapped. */
static int map_nothing(struct region *region)
{
    static _Atomic uintptr_t nothing; /* relaxed: an address of our own, whose page nobody reads */
    uintptr_t page = atomic_load_explicit(&nothing, memory_order_relaxed);
    if (page == 0) {
        int error = os_reserve(&page, os_page(), false);
        if (error < 0)
            return error;
        atomic_store_explicit(&nothing, page, memory_order_relaxed);
    }
    region->hold.start = region->hold.end = page;
    return 0;
}

static int make_resident(struct region *region, const struct region_request *request, struct failure *failure)
{
    size_t bytes = region->hold.end - region->hold.start;
    bool huge = request->huge && bytes >= HUGE_PAGE;
    if (huge && !request->shared)
        os_advise_huge(region->hold.start, bytes); /* a wish: huge_bytes tells what came of it */
    if (request->unlocked) {
        registry_add(&region->hold);
        failure->call = "madvise";
        failure->error = os_prefault(region->hold.start, bytes);
    } else {
        failure->call = "mlock";
        failure->error = registry_lock(&region->hold);
    }
    if (failure->error == 0 && huge && request->shared)
        os_collapse_huge(region->hold.start, bytes / HUGE_PAGE * HUGE_PAGE);
    return failure->error;
}

static void place_data(struct region *region, const struct region_request *request)
{
    region->nbytes = request->nbytes;
    region->address = region->hold.start;
    if (request->guard)
        region->address = (region->hold.end - request->nbytes) / request->alignment * request->alignment;
    if (request->mirrored) {
        region->address = mirror_data(region->hold.start);
        region->nbytes = region->hold.end - region->address;
    }
}

struct region *region_create(const struct region_request *request, struct failure *failure)
{
    region_retry();
    *failure = (struct failure){"mmap", -ENOMEM};
    size_t pages = region_pages(request->nbytes);
    if (pages == 0 && request->nbytes > 0)
        return NULL;
    struct region *region = new_region();
    if (region == NULL)
        return NULL;
    region->guard = request->guard;
    region->shared = request->shared || request->mirrored;
    region->hold.repair = !request->shared;
    failure->error = pages == 0 ? map_nothing(region) : map(region, pages, request, failure);
    if (failure->error < 0) {
        free(region);
        return NULL;
    }
    if (pages > 0) {
        region->hold.end = region->hold.start + (request->mirrored ? mirror_bytes(pages) : pages);
        if (make_resident(region, request, failure) < 0) {
            region_release(region);
            return NULL;
        }
    }
    place_data(region, request);
    return region;
}

struct region *region_borrow(uintptr_t start, size_t bytes, bool repair, struct failure *failure)
{
    region_retry();
    struct region *region = new_region();
    *failure = (struct failure){"mlock", region == NULL ? -ENOMEM : 0};
    if (region == NULL)
        return NULL;
    region->address = start;
    region->nbytes = bytes;
    region->hold = (struct hold){.start = start, .end = start + bytes, .repair = repair, .borrowed = true};
    failure->error = bytes == 0 ? 0 : registry_lock(&region->hold);
    if (failure->error < 0) {
        region_release(region);
        return NULL;
    }
    return region;
}

int region_protect(struct region *region)
{
    int error = os_protect(region->hold.start, region->hold.end - region->hold.start, false);
    if (error == 0) {
        region->readonly = true;
        registry_set_repair(&region->hold, false); /* nobody writes to it any more */
    }
    return error;
}

/* Giving back. */

static int give_back(struct region *region)
{
    if (region->hold.borrowed)
        return region->hold.registered ? registry_release(&region->hold) : 0;
    registry_remove(&region->hold);
    return region->map_bytes == 0 ? 0 : os_unmap(region->map_start, region->map_bytes);
}

static void forget(struct region *region)
{
    if (region->pool != NULL)
        pool_returned(region->pool, region);
    free(region);
}

static void keep_refused(struct region *first, struct region *last)
{
    last->next = atomic_load_explicit(&refused, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&refused, &last->next, first, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

void region_retry(void)
{
    if (atomic_load_explicit(&refused, memory_order_relaxed) == NULL)
        return;
    struct region *region = atomic_exchange_explicit(&refused, NULL, memory_order_acquire);
    while (region != NULL) {
        if (give_back(region) < 0) {
            /* The kernel is still out of map entries: the others would fare no better. */
            struct region *last = region;
            while (last->next != NULL)
                last = last->next;
            keep_refused(region, last);
            return;
        }
        struct region *next = region->next;
        forget(region);
        region = next;
    }
}

int region_return(struct region *region)
{
    int error = give_back(region);
    if (error == 0) {
        forget(region);
        region_retry();
    }
    return error;
}

void region_release(struct region *region)
{
    if (give_back(region) < 0) {
        if (region->pool != NULL)
            pool_refused(region->pool, region);
        keep_refused(region, region);
        return;
    }
    forget(region);
    region_retry();
}
