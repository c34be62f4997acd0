/* Waiting for the other side of a ring, and waking it: for C11 and C++17; ring.h includes this.

   A sleeper and its waker
   -----------------------
   The index and the flag "I sleep" are two words, each stored by one side and read by the other: without a fence both
   could be stored, and neither be seen.

       reader                                   writer
       reader_wants = the index it needs        written = index
       reader_sleeps = 1                        if reader_waits:
       fence                                        fence
       if written is not enough:                    if reader_sleeps, and written is enough:
           futex wait while reader_sleeps is 1          reader_sleeps = 0, futex wake

   With both fences (sequentially consistent, so that they have one order) whichever comes second sees what was stored
   before the first. The writer's costs more than the rest of a small write; so it is only made once the reader has
   ever slept: reader_waits, which stays set. The writer tells that it has seen that (writer_looks).
   A writer that has not seen the flag makes no fence, so that the reader's sleeps before that have to end by themselves:
   the first after a millisecond, each of the next after twice as long.
   The other direction is the same with the names exchanged. tests/models/ring_wait.pml tries every order.

   Whether the other side lives
   ----------------------------
   A sleep ends after 50 ms in any case, to look: each process holds the byte `id` of the file locked (F_OFD_SETLK) in
   an open file description of its own, which the kernel drops when the process dies, however it does. There is no
   process number that somebody else may get, no second descriptor to be handed over as a pidfd, and no thread that has
   to outlive all others, as the owner of a robust futex would. */
#ifndef LOCKEDARRAY_INCLUDED_RING_WAIT_H
#define LOCKEDARRAY_INCLUDED_RING_WAIT_H

#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef __cplusplus
/* There, but not declared under -std=c11. */
extern long syscall(long number, ...);
extern int clock_gettime(int clock, struct timespec *now);
#endif

/* What a wait comes to, besides LA_RING_CORRUPTED. */
enum {
    LA_RING_NEVER = 0, /* the ring is closed: no more frames will come, or none can be written */
    LA_RING_READY = 1,
    LA_RING_TIMEOUT = 2,
    LA_RING_INTERRUPTED = 3 /* by a signal */
};

enum { LA_RING_SLEEPS = 1, LA_RING_ARMED = 2 };

#define LA_RING_FOREVER INT64_MAX
#define LA_RING_SPIN INT64_C(30000)    /* ns before a sleep: about what a wake-up takes */
#define LA_RING_LOOK INT64_C(50000000) /* ns from one look at whether the other side lives to the next */
#define LA_RING_UNSEEN INT64_C(1000000) /* ns of the first sleep that the other side has not seen to come */

/* Primitives. The numbers are Linux's own; the C library's headers of old, or under -std=c11, lack some. */

static inline int64_t la_ring_now(void)
{
    struct timespec now;
    clock_gettime(1 /* CLOCK_MONOTONIC */, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Sleep while *word is `value`, until a moment of the monotonic clock at the latest; 0 or an errno. */
static inline int la_ring_futex_wait(uint32_t *word, uint32_t value, int64_t until)
{
    struct timespec at;
    at.tv_sec = (time_t)(until / 1000000000);
    at.tv_nsec = (long)(until % 1000000000);
    /* FUTEX_WAIT_BITSET, whose time is absolute. Not private: the other side may be another process. */
    return syscall(SYS_futex, word, 9, value, &at, NULL, 0xffffffffu) == 0 ? 0 : errno;
}

static inline void la_ring_futex_wake(uint32_t *word)
{
    syscall(SYS_futex, word, 1 /* FUTEX_WAKE */, INT32_MAX, NULL, NULL, 0);
}

/* Whether somebody else has one of these bytes of the file locked. */
static inline int la_ring_is_held(int fd, uint64_t first, uint64_t bytes)
{
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_start = (off_t)first;
    lock.l_len = (off_t)bytes;
    /* Where the kernel cannot be asked nobody is declared dead. */
    return fcntl(fd, 36 /* F_OFD_GETLK */, &lock) < 0 || lock.l_type != F_UNLCK;
}

/* Waking */

static LA_RING_RARELY void la_ring_rouse(uint32_t *sleeps, int event)
{
    int kept = errno;
    uint32_t how = __atomic_exchange_n(sleeps, 0, __ATOMIC_RELAXED); /* publishes nothing: the index did */
    if (how & LA_RING_SLEEPS)
        la_ring_futex_wake(sleeps);
    if ((how & LA_RING_ARMED) && event >= 0) {
        uint64_t one = 1;
        if (write(event, &one, sizeof one) < 0)
            errno = kept; /* full: then it can be read already */
    }
    errno = kept;
}

static LA_RING_RARELY void la_ring_tell_reader(struct la_ring *ring)
{
    struct la_ring_shared *shared = ring->shared;
    /* Pairs with the fence in la_ring_sleep: the reader sees this index, or this sees that the reader sleeps. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&shared->writer_looks, 1, __ATOMIC_RELAXED); /* from here on each commit makes a fence */
    if (__atomic_load_n(&shared->reader_sleeps, __ATOMIC_RELAXED) &&
        (int64_t)(ring->writer.index - __atomic_load_n(&shared->reader_wants, __ATOMIC_RELAXED)) >= 0)
        la_ring_rouse(&shared->reader_sleeps, ring->reader.event);
}

static LA_RING_RARELY void la_ring_tell_writer(struct la_ring *ring)
{
    struct la_ring_shared *shared = ring->shared;
    /* Pairs with the fence in la_ring_sleep, likewise. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&shared->reader_looks, 1, __ATOMIC_RELAXED);
    if (__atomic_load_n(&shared->writer_sleeps, __ATOMIC_RELAXED) &&
        (int64_t)(ring->reader.index - __atomic_load_n(&shared->writer_wants, __ATOMIC_RELAXED)) >= 0)
        la_ring_rouse(&shared->writer_sleeps, ring->writer.event);
}

static LA_RING_RARELY void la_ring_wake_both(struct la_ring *ring)
{
    /* Pairs with the fence in la_ring_sleep: a sleeper sees `closed`, or this sees it sleep. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ring->shared->reader_sleeps, __ATOMIC_RELAXED))
        la_ring_rouse(&ring->shared->reader_sleeps, ring->reader.event);
    if (__atomic_load_n(&ring->shared->writer_sleeps, __ATOMIC_RELAXED))
        la_ring_rouse(&ring->shared->writer_sleeps, ring->writer.event);
}

/* Looking */

/* Whether a side lives, by its id: this process does. While nobody has become that side it may be any other process
   that has the ring, or is yet to get it; or a thread of this one, if nobody else ever had it. */
static inline int la_ring_lives(const struct la_ring *ring, uint64_t id)
{
    const uint64_t last = UINT64_C(1) << 62;
    if (id == ring->id)
        return 1;
    if (id != 0)
        return la_ring_is_held(ring->fd, id % last, 1);
    if (__atomic_load_n(&ring->shared->attached, __ATOMIC_RELAXED) <= 1)
        return 1;
    /* All but the byte of the descriptor that this process itself hands out. */
    return la_ring_is_held(ring->fd, 1, ring->handed > 1 ? ring->handed - 1 : last) ||
           (ring->handed > 1 && la_ring_is_held(ring->fd, ring->handed + 1, last));
}

static inline int la_ring_writer_lives(const struct la_ring *ring)
{
    return la_ring_lives(ring, __atomic_load_n(&ring->shared->writer_id, __ATOMIC_RELAXED));
}

static inline int la_ring_reader_lives(const struct la_ring *ring)
{
    return la_ring_lives(ring, __atomic_load_n(&ring->shared->reader_id, __ATOMIC_RELAXED));
}

/* Close the ring on behalf of the other side, if it has died: a system call, at most every 50 ms, and none where the
   other side is this process. For a side that got less than it wanted. */
static LA_RING_RARELY void la_ring_look(struct la_ring *ring, struct la_ring_side *side)
{
    const uint64_t *other = side == &ring->reader ? &ring->shared->writer_id : &ring->shared->reader_id;
    if (__atomic_load_n(other, __ATOMIC_RELAXED) == ring->id || la_ring_is_closed(ring))
        return;
    int64_t now = la_ring_now();
    if (now - __atomic_load_n(&side->looked, __ATOMIC_RELAXED) < LA_RING_LOOK)
        return;
    __atomic_store_n(&side->looked, now, __ATOMIC_RELAXED); /* any thread may ask; publishes nothing */
    if (!(side == &ring->reader ? la_ring_writer_lives(ring) : la_ring_reader_lives(ring)))
        la_ring_close(ring);
}

/* Whether the ring is closed, or a side has died: a side asks after the other; whoever is none, after those that have
   become one. */
static inline int la_ring_ask_closed(struct la_ring *ring)
{
    struct la_ring_shared *shared = ring->shared;
    int reads = la_ring_is(ring, &ring->reader, &shared->reader_id);
    int writes = la_ring_is(ring, &ring->writer, &shared->writer_id);
    int neither = !reads && !writes;
    if (reads || (neither && __atomic_load_n(&shared->writer_id, __ATOMIC_RELAXED)))
        la_ring_look(ring, &ring->reader);
    if (writes || (neither && __atomic_load_n(&shared->reader_id, __ATOMIC_RELAXED)))
        la_ring_look(ring, &ring->writer);
    return la_ring_is_closed(ring);
}

/* Waiting */

/* Whether n frames can be read: LA_RING_TIMEOUT means not yet. */
static inline int la_ring_can_read(struct la_ring *ring, uint64_t n)
{
    int closed = la_ring_is_closed(ring); /* first: what was written before the close is then seen */
    int64_t frames = la_ring_readable(ring, n);
    if (frames < 0)
        return LA_RING_CORRUPTED;
    return (uint64_t)frames >= n ? LA_RING_READY : closed ? LA_RING_NEVER : LA_RING_TIMEOUT;
}

static inline int la_ring_can_write(struct la_ring *ring, uint64_t n)
{
    int64_t frames = la_ring_writable(ring, n);
    if (la_ring_is_closed(ring))
        return LA_RING_NEVER;
    if (frames < 0)
        return LA_RING_CORRUPTED;
    return (uint64_t)frames >= n ? LA_RING_READY : LA_RING_TIMEOUT;
}

static inline int la_ring_can(struct la_ring *ring, struct la_ring_side *side, uint64_t n)
{
    return side == &ring->reader ? la_ring_can_read(ring, n) : la_ring_can_write(ring, n);
}

/* Say that this side sleeps, or is armed, until n frames can be had; and then look once more. */
static inline int la_ring_say(struct la_ring *ring, struct la_ring_side *side, uint64_t n, uint32_t how)
{
    struct la_ring_shared *shared = ring->shared;
    int reads = side == &ring->reader;
    uint32_t *waits = reads ? &shared->reader_waits : &shared->writer_waits;
    if (!__atomic_load_n(waits, __ATOMIC_RELAXED)) /* its line is in everybody's cache: store once */
        __atomic_store_n(waits, 1, __ATOMIC_RELAXED);
    __atomic_store_n(reads ? &shared->reader_wants : &shared->writer_wants,
                     reads ? side->index + n : side->index + n - ring->capacity, __ATOMIC_RELAXED);
    __atomic_store_n(reads ? &shared->reader_sleeps : &shared->writer_sleeps, how, __ATOMIC_RELAXED);
    /* Pairs with the fence in la_ring_tell_reader, _tell_writer and _wake_both: what is stored above is seen by whoever
       moves on after this; what moved on before is seen below. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return la_ring_can(ring, side, n);
}

/* One sleep: LA_RING_TIMEOUT means that it is over, and not enough there. */
static inline int la_ring_sleep(struct la_ring *ring, struct la_ring_side *side, uint64_t n, int64_t until)
{
    struct la_ring_shared *shared = ring->shared;
    int reads = side == &ring->reader;
    uint32_t *sleeps = reads ? &shared->reader_sleeps : &shared->writer_sleeps;
    int seen = (int)__atomic_load_n(reads ? &shared->writer_looks : &shared->reader_looks, __ATOMIC_RELAXED);
    int64_t latest = la_ring_now() + (seen || side->unseen > 5 ? LA_RING_LOOK : LA_RING_UNSEEN << side->unseen++);
    int state = la_ring_say(ring, side, n, LA_RING_SLEEPS);
    if (state == LA_RING_TIMEOUT) {
        int error = la_ring_futex_wait(sleeps, LA_RING_SLEEPS, until < latest ? until : latest);
        state = error == EINTR ? LA_RING_INTERRUPTED : la_ring_can(ring, side, n);
    }
    __atomic_store_n(sleeps, 0, __ATOMIC_RELAXED);
    return state;
}

static inline int la_ring_wait(struct la_ring *ring, struct la_ring_side *side, uint64_t n, int64_t until)
{
    int state = la_ring_can(ring, side, n);
    int64_t spin = la_ring_now() + LA_RING_SPIN;
    while (state == LA_RING_TIMEOUT && la_ring_now() < (spin < until ? spin : until)) {
        sched_yield(); /* the other side may be waiting for this very CPU */
        state = la_ring_can(ring, side, n);
    }
    while (state == LA_RING_TIMEOUT) {
        la_ring_look(ring, side);
        if (la_ring_now() >= until)
            return la_ring_can(ring, side, n); /* after the look, which may have closed the ring */
        state = la_ring_sleep(ring, side, n, until);
    }
    return state;
}

/* Wait until n frames can be read, or written, and until a moment of CLOCK_MONOTONIC in ns (la_ring_now() + ns, or
   LA_RING_FOREVER) at the latest. LA_RING_READY, LA_RING_NEVER as soon as it is certain, LA_RING_TIMEOUT,
   LA_RING_INTERRUPTED, or LA_RING_CORRUPTED. n is at most the capacity. */
static inline int la_ring_wait_read(struct la_ring *ring, uint64_t n, int64_t until)
{
    return la_ring_wait(ring, &ring->reader, n, until);
}

static inline int la_ring_wait_write(struct la_ring *ring, uint64_t n, int64_t until)
{
    return la_ring_wait(ring, &ring->writer, n, until);
}

#endif
