/* What the kernel tells about pages, faults and time. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* linux/fs.h has these from Linux 6.7 on, under other names. */
struct scanned {
    uint64_t start, end, categories;
};
struct scan {
    uint64_t size, flags, start, end, walk_end, out, out_length, max_pages;
    uint64_t inverted, all_of, any_of, reported;
};
#define SCAN_PAGES _IOWR('f', 16, struct scan)
#define SCAN_IS_HUGE ((uint64_t)1 << 6)

bool os_is_locked(uintptr_t page)
{
    return msync((void *)page, os_page(), MS_ASYNC | MS_INVALIDATE) < 0 && errno == EBUSY;
}

int os_resident(uintptr_t start, size_t bytes, unsigned char *pages)
{
    return mincore((void *)start, bytes, pages) < 0 ? -errno : 0;
}

static int64_t scan_huge(int fd, uintptr_t start, uintptr_t end)
{
    struct scanned runs[32];
    int64_t huge = 0;
    while (start < end) {
        struct scan scan = {.size = sizeof scan, .start = start, .end = end, .out = (uintptr_t)runs, .out_length = 32,
                            .all_of = SCAN_IS_HUGE, .reported = SCAN_IS_HUGE};
        int found = ioctl(fd, SCAN_PAGES, &scan);
        if (found < 0)
            return -errno;
        for (int i = 0; i < found; i++)
            huge += (int64_t)(runs[i].end - runs[i].start);
        if (scan.walk_end <= start)
            return -EIO;
        start = scan.walk_end;
    }
    return huge;
}

int64_t os_huge_bytes(uintptr_t start, size_t bytes)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int64_t huge = scan_huge(fd, start, start + bytes);
    os_close(fd);
    return huge;
}

static int open_counter(uint64_t event, bool kernel)
{
    struct perf_event_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.size = sizeof attributes;
    attributes.config = event;
    attributes.exclude_kernel = !kernel;
    attributes.exclude_hv = 1;
    int fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int os_count_faults(bool kernel, int *minor_fd, int *major_fd)
{
    int minor = open_counter(PERF_COUNT_SW_PAGE_FAULTS_MIN, kernel);
    if (minor < 0)
        return minor;
    int major = open_counter(PERF_COUNT_SW_PAGE_FAULTS_MAJ, kernel);
    if (major < 0) {
        os_close(minor);
        return major;
    }
    *minor_fd = minor;
    *major_fd = major;
    return 0;
}

int os_read_counter(int fd, uint64_t *count)
{
    ssize_t got = read(fd, count, sizeof *count);
    if (got < 0)
        return -errno;
    return got == sizeof *count ? 0 : -EIO;
}

void os_thread_faults(uint64_t *minor, uint64_t *major)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    *minor = (uint64_t)usage.ru_minflt;
    *major = (uint64_t)usage.ru_majflt;
}

int64_t os_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int os_sleep_until(int64_t monotonic)
{
    struct timespec until = {.tv_sec = (time_t)(monotonic / 1000000000), .tv_nsec = (long)(monotonic % 1000000000)};
    return -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}
