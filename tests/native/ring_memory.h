/* A ring for a C program alone, without Python and its locked memory: over memory that the caller has mapped twice in a
   row, or once if no block ever crosses the end. */
#ifndef RING_MEMORY_H
#define RING_MEMORY_H

#include <lockedarray/ring.h>

static struct la_ring ring_over(struct la_ring_shared *shared, void *data, uint64_t capacity, size_t channels,
                                size_t item_bytes)
{
    struct la_ring ring;
    memset(&ring, 0, sizeof ring);
    ring.shared = shared;
    ring.data = (char *)data;
    ring.capacity = capacity;
    ring.channels = channels;
    ring.item_bytes = item_bytes;
    ring.frame_bytes = channels * item_bytes;
    ring.data_bytes = capacity * ring.frame_bytes;
    ring.id = 1;
    ring.counted = 1;
    ring.fd = ring.writer.event = ring.reader.event = -1;
    __atomic_store_n(&shared->attached, 1, __ATOMIC_RELAXED);
    return ring;
}

#endif
