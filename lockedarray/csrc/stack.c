/* The calling thread's stack, touched before it is needed. */
#include "os.h"

#include "cdef.h"

/* Left alone below the pages that are touched: for what a signal's handler and this very function need, */
#define SPARE ((size_t)64 << 10)
/* and under the first thread's stack the kernel keeps a gap of 256 pages to whatever lies below. */
#define GAP_PAGES 256

static size_t depth_left(void)
{
    uintptr_t low, high, here = (uintptr_t)__builtin_frame_address(0);
    if (os_stack(&low, &high) < 0 || here < low || here > high)
        return 0;
    size_t left = here - low, spare = SPARE + (os_is_main_thread() ? GAP_PAGES * os_page() : 0);
    return left > spare ? left - spare : 0;
}

/* Down the stack, page after page, as calls would go; in a frame of its own, so that nothing below it is alive. */
static __attribute__((noinline)) void touch(size_t nbytes)
{
    char pages[nbytes];
    volatile char *byte = pages;
    for (size_t left = nbytes; left > 0; left -= left < os_page() ? left : os_page())
        byte[left - 1] = 0;
}

size_t stack_prefault(size_t nbytes)
{
    size_t most = depth_left();
    if (nbytes > most)
        nbytes = most;
    nbytes -= nbytes % os_page();
    if (nbytes > 0)
        touch(nbytes);
    return nbytes;
}

int stack_pages(uintptr_t extent[2])
{
    uintptr_t low, high, page = os_page();
    int error = os_stack(&low, &high);
    extent[0] = (low + page - 1) & ~(page - 1);
    extent[1] = (high & ~(page - 1)) - extent[0];
    return error;
}
