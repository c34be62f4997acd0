/* Every #ifdef of the project: what a kernel or a C library may lack is settled here and in os*.c.
   Functions return 0 (or a count) and -errno; none of them touches Python. */
#ifndef LOCKEDARRAY_OS_H
#define LOCKEDARRAY_OS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef __linux__
#error "lockedarray needs Linux: its promises are made of mlock, memfd_create and smaps"
#endif

size_t os_page(void);
_Noreturn void os_abort(const char *sentence);

/* Memory. Sizes are whole pages. "over" replaces what is mapped there; "shared" is shared with forked children. */
int os_map(uintptr_t *at, size_t bytes, bool shared);
int os_reserve(uintptr_t *at, size_t bytes, bool shared);
int os_map_over(uintptr_t at, size_t bytes, bool shared);
int os_map_file_over(uintptr_t at, size_t bytes, int fd, size_t offset);
int os_unmap(uintptr_t at, size_t bytes);
int os_protect(uintptr_t at, size_t bytes, bool writable);
int os_lock(uintptr_t at, size_t bytes);
int os_unlock(uintptr_t at, size_t bytes);
bool os_is_mapped(uintptr_t page);
int os_populate(uintptr_t at, size_t bytes); /* a private page for each; refused before Linux 5.14 */
int os_prefault(uintptr_t at, size_t bytes); /* for writing, memory known to be writable */
int os_fault_in(uintptr_t at, size_t bytes); /* each page, for reading */
void os_touch(uintptr_t at, size_t bytes);   /* the same by hand, for memory known to be writable */
int os_advise_huge(uintptr_t at, size_t bytes);
int os_collapse_huge(uintptr_t at, size_t bytes);

/* The whole process. */
int os_lock_all(bool current, bool future, bool on_fault);
int os_unlock_all(void);
int os_lock_beyond(size_t limit); /* whether one may: 1, 0, or -errno where it cannot be tried */

struct os_mapping {
    uintptr_t start, end;
    bool writable, is_private;
};
struct os_maps {
    int fd, at, held, error;
    char buffer[1024];
};
int os_open_maps(struct os_maps *maps); /* os_maps.c */
int os_next_mapping(struct os_maps *maps, struct os_mapping *mapping); /* 1, 0 after the last, -errno */
void os_close_maps(struct os_maps *maps);

bool os_tune_malloc(void); /* false where the C library has no such settings */

/* Descriptors. */
int os_memory_file(size_t bytes); /* sealed: it neither shrinks nor grows */
int os_check_sealed(int fd, size_t *bytes); /* that another's is sealed likewise, and how long; -EINVAL if it is not */
int os_read_file(int fd, void *to, size_t bytes); /* from its beginning; -EIO if there are not so many */
int os_reopen(int fd); /* the same file, opened anew: needs /proc */
int os_lock_byte(int fd, uint64_t at, bool shared); /* as long as that open file lives */
int os_event(void); /* an eventfd */
int os_drain(int fd); /* it cannot be read again, until somebody writes */
int os_duplicate(int fd); /* of one that never blocks; -EINVAL for another */
int os_random(void *to, size_t bytes);
void os_close(int fd);

/* What the kernel tells: os_probe.c. */
bool os_is_locked(uintptr_t page);
int os_resident(uintptr_t start, size_t bytes, unsigned char *pages); /* the lowest bit of each */
int64_t os_huge_bytes(uintptr_t start, size_t bytes);                 /* -errno before Linux 6.7 */
int os_count_faults(bool kernel, int *minor_fd, int *major_fd);       /* of this thread from now on */
int os_read_counter(int fd, uint64_t *count);
void os_thread_faults(uint64_t *minor, uint64_t *major);              /* since the thread began */
int64_t os_monotonic(void);                                           /* ns */
int os_sleep_until(int64_t monotonic);

/* The calling thread: os_thread.c. */
struct scheduling;
int os_stack(uintptr_t *low, uintptr_t *high); /* where it may grow to, and from where */
int os_write_to(uintptr_t at); /* some bytes, through the kernel: -EFAULT instead of a signal */
int os_scheduling(struct scheduling *now);
int os_schedule(const struct scheduling *wanted);
int64_t os_timer_slack(void); /* ns */
int os_set_timer_slack(int64_t slack);
int os_flushes_denormals(void); /* 1 or 0; -ENOSYS on a processor that is not known here */
uint64_t os_denormals(void);            /* the bits that say so, */
void os_set_denormals(uint64_t bits);   /* as they were, or all */

#endif
