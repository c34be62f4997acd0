#include "os.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE /* Linux 6.1 */
#define MADV_COLLAPSE 25
#endif

static int result(int returned)
{
    return returned < 0 ? -errno : 0;
}

static int map(uintptr_t *at, size_t bytes, int protection, int flags, int fd, size_t offset)
{
    void *mapped = mmap((void *)*at, bytes, protection, flags, fd, (off_t)offset);
    if (mapped == MAP_FAILED)
        return -errno;
    *at = (uintptr_t)mapped;
    return 0;
}

size_t os_page(void)
{
    static size_t page; /* written with one value only, whoever comes first */
    if (page == 0)
        page = (size_t)sysconf(_SC_PAGESIZE);
    return page;
}

_Noreturn void os_abort(const char *sentence)
{
    ssize_t written = write(STDERR_FILENO, sentence, strlen(sentence));
    (void)written; /* there is nobody else to tell */
    abort();
}

int os_map(uintptr_t *at, size_t bytes, bool shared)
{
    *at = 0;
    return map(at, bytes, PROT_READ | PROT_WRITE, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
}

int os_reserve(uintptr_t *at, size_t bytes, bool shared)
{
    *at = 0;
    int visibility = shared ? MAP_SHARED : MAP_PRIVATE;
    return map(at, bytes, PROT_NONE, visibility | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int os_map_over(uintptr_t at, size_t bytes, bool shared)
{
    int visibility = shared ? MAP_SHARED : MAP_PRIVATE;
    return map(&at, bytes, PROT_READ | PROT_WRITE, visibility | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

int os_map_file_over(uintptr_t at, size_t bytes, int fd, size_t offset)
{
    return map(&at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset);
}

int os_unmap(uintptr_t at, size_t bytes)
{
    return result(munmap((void *)at, bytes));
}

int os_protect(uintptr_t at, size_t bytes, bool writable)
{
    return result(mprotect((void *)at, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ));
}

int os_lock(uintptr_t at, size_t bytes)
{
    return result(mlock((void *)at, bytes));
}

int os_unlock(uintptr_t at, size_t bytes)
{
    return result(munlock((void *)at, bytes));
}

int os_lock_all(bool current, bool future, bool on_fault)
{
    int when = (current ? MCL_CURRENT : 0) | (future ? MCL_FUTURE : 0);
    return result(mlockall(when | (on_fault ? MCL_ONFAULT : 0)));
}

int os_unlock_all(void)
{
    return result(munlockall());
}

int os_lock_beyond(size_t limit)
{
    uintptr_t at;
    size_t bytes;
    if (__builtin_add_overflow(limit, os_page(), &bytes))
        return -EOVERFLOW;
    bytes &= ~(os_page() - 1);
    int error = os_reserve(&at, bytes, false);
    if (error < 0) /* after mlockall even address space counts, and EAGAIN is the limit's word */
        return error == -EAGAIN ? 0 : error;
    /* On fault: there is nothing to bring in, and nothing is. */
    error = result((int)syscall(SYS_mlock2, at, bytes, MLOCK_ONFAULT));
    os_unmap(at, bytes);
    return error == 0 ? 1 : error == -ENOMEM || error == -EPERM || error == -EAGAIN ? 0 : error;
}

bool os_is_mapped(uintptr_t page)
{
    unsigned char resident;
    return mincore((void *)page, os_page(), &resident) == 0;
}

int os_populate(uintptr_t at, size_t bytes)
{
    return result(madvise((void *)at, bytes, MADV_POPULATE_WRITE));
}

void os_touch(uintptr_t at, size_t bytes)
{
    /* An atomic write of nothing: other threads may be writing to the same bytes. */
    for (uintptr_t page = at; page < at + bytes; page += os_page())
        __atomic_fetch_or((unsigned char *)page, 0, __ATOMIC_RELAXED);
}

int os_prefault(uintptr_t at, size_t bytes)
{
    int error = os_populate(at, bytes);
    if (error != -EINVAL)
        return error;
    os_touch(at, bytes);
    return 0;
}

int os_fault_in(uintptr_t at, size_t bytes)
{
    int error = result(madvise((void *)at, bytes, MADV_POPULATE_READ));
    if (error != -EINVAL)
        return error;
    for (uintptr_t page = at; page < at + bytes; page += os_page())
        (void)*(volatile const unsigned char *)page;
    return 0;
}

int os_advise_huge(uintptr_t at, size_t bytes)
{
    return result(madvise((void *)at, bytes, MADV_HUGEPAGE));
}

int os_collapse_huge(uintptr_t at, size_t bytes)
{
    return result(madvise((void *)at, bytes, MADV_COLLAPSE));
}

bool os_tune_malloc(void)
{
#ifdef __GLIBC__
    /* What is freed stays in the process: it would fault again. */
    return mallopt(M_MMAP_MAX, 0) == 1 && mallopt(M_TRIM_THRESHOLD, -1) == 1;
#else
    return false;
#endif
}
