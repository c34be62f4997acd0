/* The ring: one writer, one reader, no lock. Indices count frames from the beginning and never wrap (2**64 frames
   last for ages); positions in the data run in bytes modulo its size, so that any frame size goes with any capacity.

   Each side keeps its own index, its position and what it last saw of the other in the private page, and publishes
   its index in the shared page. Nothing of the shared page but the two indices and the closed flag is ever read back,
   and they are checked: another process may have written there. */
#ifndef LOCKEDARRAY_RING_H
#define LOCKEDARRAY_RING_H

#include <stdatomic.h>

#include "mirror.h"
#include "os.h"

#define RING_MAGIC UINT64_C(0x6c6f636b72696e67) /* "lockring" */
#define RING_VERSION 1u

/* In the shared page. Each line is written by one side; the rest of the page is room for waiters and peers. */
struct ring_shared {
    uint64_t magic;
    uint32_t version, page_bytes;
    uint64_t frame_bytes, capacity, data_bytes;

    _Alignas(OS_DESTRUCTIVE) _Atomic uint64_t written; /* frames */
    _Atomic uint64_t overruns, frames_lost;

    _Alignas(OS_DESTRUCTIVE) _Atomic uint64_t read; /* frames */
    _Atomic uint64_t underruns, frames_missed;

    _Alignas(OS_DESTRUCTIVE) _Atomic uint32_t closed;
};

/* One side, in the private page. */
struct ring_side {
    uint64_t index;  /* frames written, or read */
    uint64_t other;  /* the other side's index, when last looked at */
    size_t position; /* of the index, in bytes into the data */
    uint64_t window; /* frames that may still be committed, or consumed */
};

struct ring {
    struct ring_shared *shared;
    char *data; /* twice in a row */
    uint64_t capacity;
    size_t frame_bytes, data_bytes;
    _Alignas(OS_DESTRUCTIVE) struct ring_side writer;
    _Alignas(OS_DESTRUCTIVE) struct ring_side reader;
};

_Static_assert(sizeof(struct ring) <= 4096 && sizeof(struct ring_shared) <= 4096, "each fits the smallest page");

/* In fresh memory of a mirror. */
static inline struct ring *ring_init(uintptr_t memory, uint64_t capacity, size_t frame_bytes, size_t data_bytes)
{
    struct ring *ring = (struct ring *)memory;
    struct ring_shared *shared = (struct ring_shared *)mirror_shared_page(memory);
    *ring = (struct ring){
        .shared = shared,
        .data = (char *)mirror_data(memory),
        .capacity = capacity,
        .frame_bytes = frame_bytes,
        .data_bytes = data_bytes,
    };
    shared->magic = RING_MAGIC;
    shared->version = RING_VERSION;
    shared->page_bytes = (uint32_t)os_page();
    shared->frame_bytes = frame_bytes;
    shared->capacity = capacity;
    shared->data_bytes = data_bytes;
    return ring;
}

/* Frames that can be written; -1 if the other side's index is impossible. The cached index may only be too small:
   what it allows is certain, and only if it does not suffice the other side's line is fetched. */
static inline int64_t ring_writable(struct ring *ring, uint64_t wanted)
{
    struct ring_side *writer = &ring->writer;
    uint64_t used = writer->index - writer->other;
    if (ring->capacity - used < wanted) {
        /* Pairs with the release in ring_advance_reader: the reader has done with the frames before this index. */
        writer->other = atomic_load_explicit(&ring->shared->read, memory_order_acquire);
        used = writer->index - writer->other;
        if (used > ring->capacity) {
            writer->other = writer->index - ring->capacity; /* full, as long as it says what cannot be */
            return -1;
        }
    }
    return (int64_t)(ring->capacity - used);
}

/* Frames that can be read; -1 if the other side's index is impossible. */
static inline int64_t ring_readable(struct ring *ring, uint64_t wanted)
{
    struct ring_side *reader = &ring->reader;
    uint64_t held = reader->other - reader->index;
    if (held < wanted) {
        /* Pairs with the release in ring_advance_writer: the frames before this index are in the data. */
        reader->other = atomic_load_explicit(&ring->shared->written, memory_order_acquire);
        held = reader->other - reader->index;
        if (held > ring->capacity) {
            reader->other = reader->index; /* empty, as long as it says what cannot be */
            return -1;
        }
    }
    return (int64_t)held;
}

static inline void ring_step(const struct ring *ring, struct ring_side *side, uint64_t frames)
{
    side->index += frames;
    side->position += (size_t)frames * ring->frame_bytes;
    if (side->position >= ring->data_bytes)
        side->position -= ring->data_bytes;
}

static inline void ring_advance_writer(struct ring *ring, uint64_t frames)
{
    ring_step(ring, &ring->writer, frames);
    /* Publishes the frames just written; pairs with the acquire in ring_readable. */
    atomic_store_explicit(&ring->shared->written, ring->writer.index, memory_order_release);
}

static inline void ring_advance_reader(struct ring *ring, uint64_t frames)
{
    ring_step(ring, &ring->reader, frames);
    /* Gives the frames' room back, after they were read; pairs with the acquire in ring_writable. */
    atomic_store_explicit(&ring->shared->read, ring->reader.index, memory_order_release);
}

/* Counters have one writer each: no read-modify-write is needed, and nothing is published by them (relaxed). */
static inline void ring_count(_Atomic uint64_t *calls, _Atomic uint64_t *frames, uint64_t lost)
{
    atomic_store_explicit(calls, atomic_load_explicit(calls, memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_store_explicit(frames, atomic_load_explicit(frames, memory_order_relaxed) + lost, memory_order_relaxed);
}

/* Closed publishes all that was written before; pairs with the acquire in ring_is_closed. */
static inline void ring_close(struct ring *ring)
{
    atomic_store_explicit(&ring->shared->closed, 1, memory_order_release);
}

static inline bool ring_is_closed(const struct ring *ring)
{
    return atomic_load_explicit(&ring->shared->closed, memory_order_acquire) != 0;
}

/* Frames in the ring, for either side and anybody else; -1 if the indices are impossible. Two loads are no snapshot:
   the reader's index is taken before and after, until it stood still. */
static inline int64_t ring_held(const struct ring *ring)
{
    const struct ring_shared *shared = ring->shared;
    /* Acquire keeps the loads in their order; no data is read by what they say. */
    uint64_t before = atomic_load_explicit(&shared->read, memory_order_acquire);
    for (int tries = 0; tries < 64; tries++) {
        uint64_t written = atomic_load_explicit(&shared->written, memory_order_acquire);
        uint64_t after = atomic_load_explicit(&shared->read, memory_order_acquire);
        if (before == after)
            return written - after <= ring->capacity ? (int64_t)(written - after) : -1;
        before = after;
    }
    return 0; /* the reader runs along with the writer */
}

#endif
