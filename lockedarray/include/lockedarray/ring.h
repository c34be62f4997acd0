/* lockedarray's ring for C11 and C++17: one writer, one reader, no lock, no call into a library.

       #include <lockedarray/ring.h>               cc -I$(python -c 'import lockedarray; print(lockedarray.get_include())')

       void callback(struct la_ring *ring, const float *block, int64_t frames)     // ring: RingBuffer.address
       {
           int64_t taken = la_ring_write(ring, block, (uint64_t)frames);
           if (taken >= 0 && taken < frames)
               la_ring_lose(ring, (uint64_t)(frames - taken));                      // seen as rb.frames_lost
       }

   Nothing here allocates, blocks or makes a system call, but for one wake-up when the other side sleeps in a wait;
   lockedarray/ring_wait.h has the waits. Whoever has the address must keep the RingBuffer alive. One thread writes and
   one thread reads: two writers cannot crash it, but mix their frames. Processes may be a side one after the other, and
   come back.

   Memory
   ------
   A ring is one file in memory (memfd), sealed against shrinking and growing, of one page of header and whole pages of
   data. Each process maps

       | private page | header | data | data again |
                      |----- file ----|

   so that any run of up to data_bytes is contiguous wherever it starts. struct la_ring lies in the private page,
   struct la_ring_shared in the header. Indices count frames from the beginning and never wrap (2**64 frames last for
   ages); frame k lies at byte k * frame_bytes modulo data_bytes, so that any frame size goes with any capacity.

   Trust
   -----
   What a process relies on lies in its private page. Of the header it reads the indices, which are checked, and flags,
   of which any value will do: another process can stop a ring, and can write wrong frames, but not make this one read
   or write anywhere else.

   Speed
   -----
   A block takes three transfers from CPU to CPU: the writer's of its lines, the reader's of the index, then of the
   data. The index is stored right after the data: with private notes in between, 8 bytes came 50 ns later, of 250. A
   reader that touches the data along with the index saves the third, but takes away lines that are still being
   written: 512 bytes came 25% later, and a stream of 8 bytes was torn to single items. Lines 64 or 128 apart are alike.
   ring_pace.h has the rest. */
#ifndef LOCKEDARRAY_INCLUDED_RING_H
#define LOCKEDARRAY_INCLUDED_RING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LA_RING_MAGIC UINT64_C(0x676e69726b636f6c) /* "lockring" in memory */
#define LA_RING_VERSION 1u

/* What a call returns in place of a number of frames. */
enum {
    LA_RING_CORRUPTED = -1, /* more frames than the capacity lie between the indices: somebody else wrote there */
    LA_RING_CLOSED = -2     /* nothing more can be written */
};

#define LA_RING_LINE __attribute__((aligned(128))) /* two cache lines: prefetchers fetch pairs */

/* The header, byte by byte; numbers in the machine's own order. What is set by the maker does not change; each line
   after it is written by one side, or seldom. Bytes that are not named are zero. */
struct la_ring_shared {
    uint64_t magic;        /*    0 LA_RING_MAGIC, set by the maker */
    uint32_t version;      /*    8 LA_RING_VERSION */
    uint32_t page_bytes;   /*   12 of the header; data begins there in the file */
    uint64_t capacity;     /*   16 frames */
    uint64_t data_bytes;   /*   24 capacity * frame_bytes, in whole pages */
    uint64_t frame_bytes;  /*   32 channels * item_bytes */
    uint32_t item_bytes;   /*   40 */
    uint32_t channels;     /*   44 0: one item a frame, and blocks are 1-D */
    uint32_t dtype_length; /*   48 of the text at LA_RING_DTYPE; 0: not named */
    uint32_t : 32;
    uint64_t attached;     /*   56 how often a process began to use the ring, its maker first */

    LA_RING_LINE uint32_t closed; /* 128 not 0: closed by either side, or on behalf of one that died */
    uint32_t reader_waits; /*  132 not 0: the reader has begun to sleep in waits, so that the writer must look */
    uint32_t writer_waits; /*  136 the same of the writer */
    uint32_t : 32;
    uint64_t writer_id;    /*  144 the byte of the file that the writing process holds locked; 0: nobody has written */
    uint64_t reader_id;    /*  152 the same of the reading one */

    LA_RING_LINE uint64_t written; /* 256 frames; this line is the writer's */
    uint64_t overruns;     /*  264 calls that lost frames */
    uint64_t frames_lost;  /*  272 */
    uint32_t writer_looks; /*  280 not 0: the writer has seen reader_waits */

    LA_RING_LINE uint64_t read; /* 384 frames; this line is the reader's */
    uint64_t underruns;    /*  392 calls that missed frames */
    uint64_t frames_missed; /* 400 */
    uint32_t reader_looks; /*  408 */

    LA_RING_LINE uint32_t reader_sleeps; /* 512 a futex: 1 while the reader sleeps, 2 while it wants its eventfd */
    uint32_t : 32;
    uint64_t reader_wants; /*  520 the index `written` that it sleeps for */

    LA_RING_LINE uint32_t writer_sleeps; /* 640 the same of the writer */
    uint32_t : 32;
    uint64_t writer_wants; /*  648 the index `read` */
};

/* A text such as '<f4', as NumPy writes dtypes into .npy files: at this byte of the header, to its end at most. */
#define LA_RING_DTYPE 1024u

/* One side, in the private page. */
struct la_ring_side {
    uint64_t index;    /* frames written, or read */
    uint64_t position; /* of the index, in bytes into the data; stored with it */
    uint64_t other;    /* the other side's index, when last looked at: what it allows is certain */
    uint64_t window;   /* frames that Python may still commit, or consume */
    int64_t looked;    /* when this process last asked whether the other side lives, in ns */
    uint32_t empty;    /* ring_pace.h: looks that found nothing since the last that did, up to LA_RING_EMPTY */
    int32_t slips;     /* above 0: the next look is put off; below 0: so many that might be are not */
    uint32_t vain;     /* looks that were put off in vain, one after the other, up to LA_RING_VAIN */
    uint64_t usual;    /* frames that looks find which were not put off: the most, or the mean since */
    uint32_t unseen;   /* ring_wait.h: sleeps that the other side had not seen to come */
    uint32_t mine;     /* not 0: this process has caught up with the header as that side */
    int32_t event;     /* the eventfd that tells this side, or -1 */
};

struct la_ring {
    struct la_ring_shared *shared;
    char *data; /* twice in a row */
    uint64_t capacity;
    size_t frame_bytes, item_bytes, channels, data_bytes;
    uint64_t id;  /* the byte of the file that this process holds locked as long as it lives */
    uint64_t handed; /* the byte that goes with the descriptor which was handed out; 0: none was */
    int32_t fd;   /* the file, by which the other's lock is looked at */
    uint32_t counted; /* not 0: this process is one of `attached` */
    LA_RING_LINE struct la_ring_side writer;
    LA_RING_LINE struct la_ring_side reader;
};

#define LA_RING_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define LA_RING_RARELY __attribute__((noinline, cold, unused))
#define LA_RING_APART __attribute__((noinline, unused)) /* keeps the loop around it small */

/* ring_wait.h */
static void la_ring_tell_reader(struct la_ring *ring);
static void la_ring_tell_writer(struct la_ring *ring);
static void la_ring_wake_both(struct la_ring *ring);

/* From RingBuffer.address. */
static inline struct la_ring *la_ring_at(uintptr_t address)
{
    return (struct la_ring *)address;
}

/* Becoming a side */

/* Its id is on the line of `closed`, which every write looks at. */
static inline int la_ring_is(const struct la_ring *ring, const struct la_ring_side *side, const uint64_t *id)
{
    return (side->mine != 0) & (__atomic_load_n(id, __ATOMIC_RELAXED) == ring->id);
}

/* This process becomes a side at the first call, and again after another was that side: its index goes on where the
   header's is. Any index will do: it is reduced to a position inside the data. */
static inline void la_ring_catch_up(struct la_ring *ring, struct la_ring_side *side, const uint64_t *index,
                                    uint64_t *id)
{
    __extension__ typedef unsigned __int128 wide;
    /* A forked child is not counted until it takes part; its two sides may do so at once, in two threads. */
    if (!__atomic_exchange_n(&ring->counted, 1, __ATOMIC_RELAXED))
        __atomic_fetch_add(&ring->shared->attached, 1, __ATOMIC_RELAXED);
    /* Pairs with the release of whoever was this side before: its frames come before ours. */
    side->index = __atomic_load_n(index, __ATOMIC_ACQUIRE);
    side->position = (uint64_t)((wide)side->index * ring->frame_bytes % ring->data_bytes);
    side->window = 0;
    side->mine = ring->id != 0; /* a child that cannot show that it lives is like any other: it catches up each time */
    __atomic_store_n(id, ring->id, __ATOMIC_RELAXED); /* says whose life counts; publishes nothing */
}

static LA_RING_RARELY void la_ring_become_writer(struct la_ring *ring)
{
    la_ring_catch_up(ring, &ring->writer, &ring->shared->written, &ring->shared->writer_id);
    ring->writer.other = ring->writer.index - ring->capacity; /* full, until it looks */
}

static LA_RING_RARELY void la_ring_become_reader(struct la_ring *ring)
{
    la_ring_catch_up(ring, &ring->reader, &ring->shared->read, &ring->shared->reader_id);
    ring->reader.other = ring->reader.index; /* empty, until it looks */
}

/* How much */

/* Each side knows of frames that are certain, from when it last looked at the other's index. If those do not suffice it
   looks again, and takes the other's line away for it. */

static inline uint64_t la_ring_known_writable(struct la_ring *ring)
{
    struct la_ring_side *writer = &ring->writer;
    if (!LA_RING_LIKELY(la_ring_is(ring, writer, &ring->shared->writer_id)))
        la_ring_become_writer(ring);
    uint64_t room = ring->capacity - (writer->index - writer->other);
    return LA_RING_LIKELY(room <= ring->capacity) ? room : 0; /* what two threads at once can make of it */
}

static inline uint64_t la_ring_known_readable(struct la_ring *ring)
{
    struct la_ring_side *reader = &ring->reader;
    if (!LA_RING_LIKELY(la_ring_is(ring, reader, &ring->shared->reader_id)))
        la_ring_become_reader(ring);
    uint64_t held = reader->other - reader->index;
    return LA_RING_LIKELY(held <= ring->capacity) ? held : 0;
}

static inline int64_t la_ring_look_for_room(struct la_ring *ring)
{
    struct la_ring_side *writer = &ring->writer;
    /* Pairs with the release in la_ring_consume: the reader has done with the frames before this index. */
    writer->other = __atomic_load_n(&ring->shared->read, __ATOMIC_ACQUIRE);
    uint64_t used = writer->index - writer->other;
    if (LA_RING_LIKELY(used <= ring->capacity))
        return (int64_t)(ring->capacity - used);
    writer->other = writer->index - ring->capacity; /* full, as long as it says what cannot be */
    return LA_RING_CORRUPTED;
}

static inline int64_t la_ring_look_for_frames(struct la_ring *ring)
{
    struct la_ring_side *reader = &ring->reader;
    /* Pairs with the release in la_ring_commit: the frames before this index are in the data. */
    reader->other = __atomic_load_n(&ring->shared->written, __ATOMIC_ACQUIRE);
    uint64_t held = reader->other - reader->index;
    if (LA_RING_LIKELY(held <= ring->capacity))
        return (int64_t)held;
    reader->other = reader->index; /* empty, as long as it says what cannot be */
    return LA_RING_CORRUPTED;
}

/* Frames that can be written, or LA_RING_CORRUPTED: right where they are less than `wanted`, else at least so many. */
static inline int64_t la_ring_writable(struct la_ring *ring, uint64_t wanted)
{
    uint64_t known = la_ring_known_writable(ring);
    return LA_RING_LIKELY(known >= wanted) ? (int64_t)known : la_ring_look_for_room(ring);
}

/* Frames that can be read, likewise. */
static inline int64_t la_ring_readable(struct la_ring *ring, uint64_t wanted)
{
    uint64_t known = la_ring_known_readable(ring);
    return LA_RING_LIKELY(known >= wanted) ? (int64_t)known : la_ring_look_for_frames(ring);
}

#include "ring_pace.h"

/* Frames in the ring, as anybody sees them, or LA_RING_CORRUPTED. The reader's index first: it can only have grown
   since, so that a side counts no frame for its own that is not. */
static inline int64_t la_ring_held(const struct la_ring *ring)
{
    for (int tries = 0;; tries++) {
        /* Each pairs with the release of its side, as above. */
        uint64_t read = __atomic_load_n(&ring->shared->read, __ATOMIC_ACQUIRE);
        uint64_t held = __atomic_load_n(&ring->shared->written, __ATOMIC_ACQUIRE) - read;
        if (LA_RING_LIKELY(held <= ring->capacity))
            return (int64_t)held;
        /* Both sides may have moved on between the two loads; that is no corruption. */
        if (__atomic_load_n(&ring->shared->read, __ATOMIC_RELAXED) == read || tries == 1000)
            return LA_RING_CORRUPTED;
    }
}

/* Closing */

/* Pairs with the release in la_ring_close: what was written before the close is then seen. */
static inline int la_ring_is_closed(const struct la_ring *ring)
{
    return __atomic_load_n(&ring->shared->closed, __ATOMIC_ACQUIRE) != 0;
}

/* For both sides, by any thread; again: nothing happens. What was written can still be read. */
static inline void la_ring_close(struct la_ring *ring)
{
    /* Publishes all that was written before; pairs with the acquire in la_ring_is_closed. */
    __atomic_store_n(&ring->shared->closed, 1, __ATOMIC_RELEASE);
    la_ring_wake_both(ring);
}

/* Windows: the ring's own memory */

static inline void la_ring_step(const struct la_ring *ring, struct la_ring_side *side, uint64_t frames)
{
    typedef uint64_t pair __attribute__((vector_size(16), may_alias)); /* one store: the buffer holds more frames */
    uint64_t position = side->position + frames * ring->frame_bytes;
    pair moved = {side->index + frames, position >= ring->data_bytes ? position - ring->data_bytes : position};
    *(pair *)&side->index = moved;
}

/* Where the next frames are to be written: *at is one contiguous piece of as many frames as are returned, at most
   `wanted`. LA_RING_CLOSED, LA_RING_CORRUPTED. */
static inline int64_t la_ring_write_window(struct la_ring *ring, uint64_t wanted, void **at)
{
    if (!LA_RING_LIKELY(!la_ring_is_closed(ring)))
        return LA_RING_CLOSED;
    uint64_t known = la_ring_known_writable(ring);
    int64_t frames = LA_RING_LIKELY(known >= wanted) ? (int64_t)wanted : la_ring_await_room(ring, wanted);
    *at = ring->data + ring->writer.position;
    if (LA_RING_LIKELY(frames > 0)) {
        la_ring_own(*at);
        la_ring_own(&ring->shared->written);
    }
    return frames;
}

/* Hand the first frames of the window to the reader: no more than it has. It ends where another process writes. */
static inline void la_ring_commit(struct la_ring *ring, uint64_t frames)
{
    /* Publishes the frames just written; pairs with the acquire in la_ring_readable. */
    __atomic_store_n(&ring->shared->written, ring->writer.index + frames, __ATOMIC_RELEASE);
    la_ring_step(ring, &ring->writer, frames);
    if (!LA_RING_LIKELY(!__atomic_load_n(&ring->shared->reader_waits, __ATOMIC_RELAXED)))
        la_ring_tell_reader(ring);
}

/* Where the oldest frames are to be read, likewise. */
static inline int64_t la_ring_read_window(struct la_ring *ring, uint64_t wanted, const void **at)
{
    uint64_t known = la_ring_known_readable(ring);
    int64_t frames = LA_RING_LIKELY(known >= wanted) ? (int64_t)wanted : la_ring_await_frames(ring, wanted);
    *at = ring->data + ring->reader.position;
    return frames;
}

/* Give the room of the first frames of the window back to the writer, likewise. */
static inline void la_ring_consume(struct la_ring *ring, uint64_t frames)
{
    /* The frames were read before; pairs with the acquire in la_ring_writable. */
    __atomic_store_n(&ring->shared->read, ring->reader.index + frames, __ATOMIC_RELEASE);
    la_ring_step(ring, &ring->reader, frames);
    if (!LA_RING_LIKELY(!__atomic_load_n(&ring->shared->writer_waits, __ATOMIC_RELAXED)))
        la_ring_tell_writer(ring);
}

/* Whole blocks */

/* Copy as many frames as fit; how many that was, LA_RING_CLOSED, or LA_RING_CORRUPTED. */
static inline int64_t la_ring_write(struct la_ring *ring, const void *block, uint64_t frames)
{
    void *at;
    int64_t taken = la_ring_write_window(ring, frames, &at);
    if (taken > 0) {
        memcpy(at, block, (size_t)taken * ring->frame_bytes);
        la_ring_commit(ring, (uint64_t)taken);
    }
    return taken;
}

/* Copy the oldest frames, as many as there are, at most `frames`; how many that was, or LA_RING_CORRUPTED. */
static inline int64_t la_ring_read(struct la_ring *ring, void *out, uint64_t frames)
{
    const void *at;
    int64_t taken = la_ring_read_window(ring, frames, &at);
    if (taken > 0) {
        memcpy(out, at, (size_t)taken * ring->frame_bytes);
        la_ring_consume(ring, (uint64_t)taken);
    }
    return taken;
}

/* Loss is declared by whoever suffers it. A counter has one writer: no read-modify-write is needed, and nothing is
   published by it (relaxed). */
static inline void la_ring_count(uint64_t *calls, uint64_t *frames, uint64_t more)
{
    __atomic_store_n(calls, __atomic_load_n(calls, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
    __atomic_store_n(frames, __atomic_load_n(frames, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}

/* The writer had so many frames that did not fit: RingBuffer.overruns and .frames_lost. */
static inline void la_ring_lose(struct la_ring *ring, uint64_t frames)
{
    la_ring_count(&ring->shared->overruns, &ring->shared->frames_lost, frames);
}

/* The reader wanted so many frames that were not there: RingBuffer.underruns and .frames_missed. */
static inline void la_ring_miss(struct la_ring *ring, uint64_t frames)
{
    la_ring_count(&ring->shared->underruns, &ring->shared->frames_missed, frames);
}

#include "ring_planar.h"
#include "ring_wait.h"

#endif
