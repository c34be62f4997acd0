/* The calling thread's stack, touched before it is needed. */
#include "os.h"

#include "cdef.h"

/* From the page below this frame's downwards. The kernel writes there for us: where the stack may not grow, for its own
   limit, the limit on locked memory or what lies below, that is an error and not a signal. Nothing below is alive. */
int64_t stack_prefault(size_t nbytes)
{
    uintptr_t low, high, here = (uintptr_t)__builtin_frame_address(0);
    int error = os_stack(&low, &high);
    if (error < 0)
        return error;
    if (here - low >= high - low || here - low < os_page()) /* elsewhere, as on a coroutine's */
        return 0;
    uintptr_t top = here & ~(os_page() - 1), at = top;
    size_t left = nbytes < top - low ? nbytes : top - low;
    for (; left >= os_page() && os_write_to(at - os_page()) == 0; left -= os_page())
        at -= os_page();
    return (int64_t)(top - at);
}

bool stack_grows(void)
{
    uintptr_t low, high;
    return os_stack(&low, &high) == 0 && !os_is_mapped(low & ~(os_page() - 1));
}

int stack_pages(uintptr_t extent[2])
{
    uintptr_t low, high, page = os_page();
    int error = os_stack(&low, &high);
    extent[0] = (low + page - 1) & ~(page - 1);
    extent[1] = (high & ~(page - 1)) - extent[0];
    return error;
}
