/* What belongs to the calling thread: its stack, its place in the scheduler, how exact its timers and its sums are. */
#include "os.h"

#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cdef.h"

int os_stack(uintptr_t *low, uintptr_t *high)
{
    pthread_attr_t attributes;
    void *lowest;
    size_t bytes;
    int error = pthread_getattr_np(pthread_self(), &attributes);
    if (error != 0)
        return -error;
    error = pthread_attr_getstack(&attributes, &lowest, &bytes);
    pthread_attr_destroy(&attributes);
    *low = (uintptr_t)lowest;
    *high = *low + bytes;
    return -error;
}

int os_write_to(uintptr_t at)
{
    return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at) < 0 ? -errno : 0;
}

/* sched_setattr has no wrapper before glibc 2.41, and struct scheduling is its struct sched_attr. */

int os_scheduling(struct scheduling *now)
{
    return syscall(SYS_sched_getattr, 0, now, sizeof *now, 0) < 0 ? -errno : 0;
}

int os_schedule(const struct scheduling *wanted)
{
    return syscall(SYS_sched_setattr, 0, wanted, 0) < 0 ? -errno : 0;
}

int64_t os_timer_slack(void)
{
    int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    return slack < 0 ? -errno : slack;
}

int os_set_timer_slack(int64_t slack)
{
    return prctl(PR_SET_TIMERSLACK, (unsigned long)slack, 0, 0, 0) < 0 ? -errno : 0;
}

/* Flush to zero: results, and on x86-64 operands too. On ARM one bit is both. */
#if defined __x86_64__
#include <xmmintrin.h>

#define FLUSH ((unsigned)1 << 15 | (unsigned)1 << 6)

static uint64_t control(void)
{
    return _mm_getcsr();
}

static void set_control(uint64_t word)
{
    _mm_setcsr((unsigned)word);
}
#elif defined __aarch64__
#define FLUSH ((uint64_t)1 << 24)

static uint64_t control(void)
{
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
}

static void set_control(uint64_t word)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(word));
}
#else
#define FLUSH 0

static uint64_t control(void)
{
    return 0;
}

static void set_control(uint64_t word)
{
    (void)word;
}
#endif

int os_flushes_denormals(void)
{
    if (FLUSH == 0)
        return -ENOSYS;
    return (control() & FLUSH) == FLUSH;
}

uint64_t os_denormals(void)
{
    return control() & FLUSH;
}

void os_set_denormals(uint64_t bits)
{
    set_control((control() & ~(uint64_t)FLUSH) | (bits & FLUSH));
}
