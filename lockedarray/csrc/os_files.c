/* Files in memory, and the descriptors that lead to them. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_OFD_SETLK /* Linux 3.15 */
#define F_OFD_SETLK 37
#endif

/* Raw, since musl has no wrapper of old; MFD_NOEXEC_SEAL is demanded by vm.memfd_noexec=2 and unknown before 6.3. */
static int memory_file(unsigned flags)
{
    int fd = (int)syscall(SYS_memfd_create, "lockedarray", flags | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = (int)syscall(SYS_memfd_create, "lockedarray", flags);
    return fd < 0 ? -errno : fd;
}

int os_memory_file(size_t bytes)
{
    int fd = memory_file(MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return fd;
    /* Sealed, or whoever gets the descriptor could truncate it and kill us with SIGBUS. */
    if (ftruncate(fd, (off_t)bytes) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int os_check_sealed(int fd, size_t *bytes)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &status) < 0)
        return -errno;
    *bytes = (size_t)status.st_size;
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW;
    return S_ISREG(status.st_mode) && (seals & needed) == needed ? 0 : -EINVAL;
}

int os_read_file(int fd, void *to, size_t bytes)
{
    ssize_t got = pread(fd, to, bytes, 0);
    if (got < 0)
        return -errno;
    return (size_t)got == bytes ? 0 : -EIO;
}

int os_reopen(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int opened = open(path, O_RDWR | O_CLOEXEC);
    return opened < 0 ? -errno : opened;
}

int os_lock_byte(int fd, uint64_t at, bool shared)
{
    struct flock lock = {.l_type = shared ? F_RDLCK : F_WRLCK, .l_start = (off_t)at, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

int os_event(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int os_drain(int fd)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    uint64_t count;
    if (poll(&waiting, 1, 0) <= 0) /* first: whoever else has it can make a read block */
        return 0;
    return read(fd, &count, sizeof count) < 0 && errno != EAGAIN ? -errno : 0;
}

int os_duplicate(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0)
        return -EINVAL; /* nor is it one of ours */
    int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return duplicate < 0 ? -errno : duplicate;
}

int os_random(void *to, size_t bytes)
{
    ssize_t got;
    do
        got = getrandom(to, bytes, 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : (size_t)got == bytes ? 0 : -EIO;
}

void os_close(int fd)
{
    close(fd);
}
