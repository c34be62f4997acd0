/* What a side can transfer. Where that is less than wanted, it is asked whether the other side lives. */
#ifndef LOCKEDARRAY_RING_ROOM_H
#define LOCKEDARRAY_RING_ROOM_H

#include <lockedarray/ring.h>

#include "os.h"

/* Frames that can be written, LA_RING_CLOSED, or LA_RING_CORRUPTED. */
static inline int64_t ring_room(struct la_ring *ring, size_t wanted)
{
    int64_t frames = la_ring_writable(ring, wanted);
    if (frames >= 0 && (uint64_t)frames < wanted)
        la_ring_look(ring, &ring->writer);
    return la_ring_is_closed(ring) ? LA_RING_CLOSED : frames;
}

/* Frames that can be read, or LA_RING_CORRUPTED; and whether the ring was closed before they were counted. */
static inline int64_t ring_supply(struct la_ring *ring, size_t wanted, bool *closed)
{
    *closed = la_ring_is_closed(ring); /* first: what was written before the close must still be found */
    int64_t frames = la_ring_readable(ring, wanted);
    if (frames >= 0 && (uint64_t)frames < wanted && !*closed)
        la_ring_look(ring, &ring->reader);
    return frames;
}

#endif
