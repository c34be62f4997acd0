/* Counting the page faults of one thread: perf's software events, or getrusage where perf does not open. */
#include "os.h"

#include "cdef.h"

void faults_open(struct faults *faults)
{
    faults->minor_fd = faults->major_fd = -1;
    faults->kernel = os_count_faults(true, &faults->minor_fd, &faults->major_fd) == 0;
    /* Ordinary users may not count what the kernel does; where even this is refused getrusage counts. */
    if (!faults->kernel)
        os_count_faults(false, &faults->minor_fd, &faults->major_fd);
}

static int read_counts(const struct faults *faults, uint64_t *minor, uint64_t *major)
{
    if (faults->minor_fd < 0) {
        os_thread_faults(minor, major);
        return 0;
    }
    int error = os_read_counter(faults->minor_fd, minor);
    return error < 0 ? error : os_read_counter(faults->major_fd, major);
}

int faults_begin(struct faults *faults)
{
    return read_counts(faults, &faults->minor_before, &faults->major_before);
}

int faults_read(struct faults *faults)
{
    uint64_t minor, major;
    int error = read_counts(faults, &minor, &major);
    if (error < 0)
        return error;
    faults->minor = minor - faults->minor_before;
    faults->major = major - faults->major_before;
    return 0;
}

void faults_close(struct faults *faults)
{
    if (faults->minor_fd >= 0) {
        os_close(faults->minor_fd);
        os_close(faults->major_fd);
    }
    faults->minor_fd = faults->major_fd = -1;
}
