/* Blocks of one array for each channel, as JACK, LV2 and VST have them: for C11 and C++17; ring.h includes this. */
#ifndef LOCKEDARRAY_INCLUDED_RING_PLANAR_H
#define LOCKEDARRAY_INCLUDED_RING_PLANAR_H

#include "ring.h"

/* One channel of a block, from stride to stride; a size that the compiler knows makes each copy one move. */
static inline __attribute__((always_inline)) void la_ring_copy_sized(char *to, size_t to_stride, const char *from,
                                                                     size_t from_stride, size_t count, size_t bytes)
{
    for (size_t k = 0; k < count; k++)
        memcpy(to + k * to_stride, from + k * from_stride, bytes);
}

static inline void la_ring_copy_channel(char *to, size_t to_stride, const char *from, size_t from_stride, size_t count,
                                        size_t bytes)
{
    switch (bytes) {
    case 4:
        la_ring_copy_sized(to, to_stride, from, from_stride, count, 4);
        break;
    case 8:
        la_ring_copy_sized(to, to_stride, from, from_stride, count, 8);
        break;
    case 2:
        la_ring_copy_sized(to, to_stride, from, from_stride, count, 2);
        break;
    default:
        la_ring_copy_sized(to, to_stride, from, from_stride, count, bytes);
    }
}

/* As la_ring_write, from one array for each channel: channels[c][k] becomes item c of frame k. */
static inline int64_t la_ring_write_planar(struct la_ring *ring, const void *const *channels, uint64_t frames)
{
    void *at;
    int64_t taken = la_ring_write_window(ring, frames, &at);
    if (taken > 0) {
        for (size_t c = 0; c < ring->channels; c++)
            la_ring_copy_channel((char *)at + c * ring->item_bytes, ring->frame_bytes, (const char *)channels[c],
                                 ring->item_bytes, (size_t)taken, ring->item_bytes);
        la_ring_commit(ring, (uint64_t)taken);
    }
    return taken;
}

/* As la_ring_read, into one array for each channel. */
static inline int64_t la_ring_read_planar(struct la_ring *ring, void *const *channels, uint64_t frames)
{
    const void *at;
    int64_t taken = la_ring_read_window(ring, frames, &at);
    if (taken > 0) {
        for (size_t c = 0; c < ring->channels; c++)
            la_ring_copy_channel((char *)channels[c], ring->item_bytes, (const char *)at + c * ring->item_bytes,
                                 ring->frame_bytes, (size_t)taken, ring->item_bytes);
        la_ring_consume(ring, (uint64_t)taken);
    }
    return taken;
}

#endif
