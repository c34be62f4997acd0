/* What is mapped: /proc/self/maps, read without an allocation, for that would change it. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int os_open_maps(struct os_maps *maps)
{
    maps->fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    maps->at = maps->held = maps->error = 0;
    return maps->fd < 0 ? -errno : 0;
}

void os_close_maps(struct os_maps *maps)
{
    os_close(maps->fd);
}

/* The next character, or -1 at the end and at an error. */
static int next(struct os_maps *maps)
{
    if (maps->at == maps->held) {
        ssize_t got = read(maps->fd, maps->buffer, sizeof maps->buffer);
        maps->at = 0;
        maps->held = got > 0 ? (int)got : 0;
        if (got < 0)
            maps->error = -errno;
        if (got <= 0)
            return -1;
    }
    return (unsigned char)maps->buffer[maps->at++];
}

/* A hexadecimal number and the character that ends it, which is returned. */
static int read_address(struct os_maps *maps, uintptr_t *address)
{
    *address = 0;
    for (;;) {
        int c = next(maps);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return c;
        *address = *address << 4 | (uintptr_t)digit;
    }
}

int os_next_mapping(struct os_maps *maps, struct os_mapping *mapping)
{
    if (read_address(maps, &mapping->start) != '-' || read_address(maps, &mapping->end) != ' ')
        return maps->error;
    next(maps); /* readable? */
    mapping->writable = next(maps) == 'w';
    next(maps); /* executable? */
    mapping->is_private = next(maps) == 'p';
    int c;
    do
        c = next(maps);
    while (c >= 0 && c != '\n');
    return maps->error < 0 ? maps->error : 1;
}
