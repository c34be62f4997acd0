#include "mirror.h"

#include "region.h"

size_t mirror_bytes(size_t data_bytes)
{
    return 2 * (os_page() + data_bytes);
}

uintptr_t mirror_shared_page(uintptr_t at)
{
    return at + os_page();
}

uintptr_t mirror_data(uintptr_t at)
{
    return at + 2 * os_page();
}

int mirror_file(size_t data_bytes, struct failure *failure)
{
    int fd = os_memory_file(os_page() + data_bytes);
    if (fd < 0)
        *failure = (struct failure){"memfd_create", fd};
    return fd;
}

int mirror_map_over(uintptr_t at, size_t data_bytes, int fd, struct failure *failure)
{
    size_t page = os_page();
    int error = os_map_over(at, page, false);
    if (error == 0)
        error = os_map_file_over(mirror_shared_page(at), page + data_bytes, fd, 0);
    if (error == 0)
        error = os_map_file_over(mirror_data(at) + data_bytes, data_bytes, fd, page);
    if (error < 0)
        *failure = (struct failure){"mmap", error};
    return error;
}
