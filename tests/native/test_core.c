/* The C core alone: what it locks, shares and gives back, held against VmLck. Prints "N passed, N failed". */
#include <stdio.h>
#include <string.h>

#include "lock_all.h"
#include "mirror.h"
#include "pool.h"
#include "region.h"

#include "cdef.h"

static int passed, failed;

static void check(int held, const char *what)
{
    if (held)
        passed++;
    else {
        failed++;
        printf("FAILED: %s\n", what);
    }
}

static size_t vmlck(void)
{
    char line[256];
    size_t kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmLck: %zu", &kib) == 1)
            break;
    if (status != NULL)
        fclose(status);
    return kib * 1024;
}

int main(void)
{
    size_t page = os_page();
    struct failure failure;
    enum pool_refusal refusal;
    check(registry_init() == 0 && lock_all_init() == 0, "fork handlers");
    size_t start = vmlck();

    struct region *region = region_create(&(struct region_request){.nbytes = 3 * page + 1, .alignment = 8}, &failure);
    check(region != NULL && vmlck() == start + 4 * page, "a region locks whole pages");
    struct region *lock = region_borrow(region->hold.start, page, true, &failure);
    region_release(lock);
    check(vmlck() == start + 4 * page, "a nested lock leaves the region locked");
    region_release(region);
    check(vmlck() == start, "a released region is unlocked");

    region = region_create(&(struct region_request){.nbytes = 12, .alignment = 4, .guard = true}, &failure);
    check(region->address + 12 == region->hold.end && vmlck() == start + page, "a guarded region ends on a page");
    region_release(region);

    int fd = mirror_file(page, &failure);
    region = region_create(&(struct region_request){.nbytes = page, .mirrored = true, .fd = fd}, &failure);
    check(vmlck() == start + 4 * page, "a mirror costs twice");
    memcpy((void *)region->address, "abc", 3);
    check(memcmp((void *)(region->address + page), "abc", 3) == 0, "both halves are the same memory");
    region_release(region);

    struct pool *pool = pool_create(&(struct region_request){.nbytes = 8 * page}, &failure);
    struct region *taken = pool_take(pool, 1, &refusal);
    struct region *ring = pool_take_mirror(pool, page, fd, &refusal, &failure);
    check(taken != NULL && ring != NULL && vmlck() == start + 8 * page, "taking does not change the locked total");
    check(pool_take(pool, 4 * page, &refusal) == NULL && refusal == POOL_EXHAUSTED, "a pool can be exhausted");
    region_release(taken);
    struct pool_figures figures = pool_figures(pool);
    check(figures.returned == page && vmlck() == start + 7 * page, "a page that comes back goes to the system");
    check(figures.capacity == figures.in_use + figures.available + figures.returned, "the pool's sum");
    pool_release(pool);
    region_release(ring);
    os_close(fd);
    check(vmlck() == start, "everything is given back");

    struct refused_relock refused;
    int64_t outer, inner;
    region = region_create(&(struct region_request){.nbytes = page}, &failure);
    check(lock_all_enter(true, true, true, &outer) == 0 && vmlck() > start + page, "everything is locked");
    check(lock_all_enter(false, true, false, &inner) == 0, "again");
    lock_all_leave(&inner, &refused);
    lock_all_leave(&inner, &refused);
    check(lock_all_holds(outer) && vmlck() > start + page, "the first to leave changes nothing");
    lock_all_leave(&outer, &refused);
    check(refused.holds == 0 && vmlck() == start + page, "the last one unlocks all but the region");
    region_release(region);
    check(vmlck() == start, "and that is given back too");

    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
