/* Copies into a history's shared memory and out of it, which race by design: they are defined, since every shared byte
   is loaded and stored atomically (relaxed), in words of 8 bytes, and in smaller ones at the edges. What makes a copy
   whole is not here: see lockedarray/history.h. */
#ifndef LOCKEDARRAY_INCLUDED_HISTORY_COPY_H
#define LOCKEDARRAY_INCLUDED_HISTORY_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What a frame is. */
struct la_history_format {
    size_t channels, item_bytes, frame_bytes;
};

/* Where frames lie outside of a history: bytes from one frame to the next, and from one channel's item to the next. */
struct la_history_block {
    char *at;
    ptrdiff_t frame_stride, channel_stride;
};

typedef uint64_t __attribute__((may_alias)) la_history_word;
typedef uint32_t __attribute__((may_alias)) la_history_half;
typedef uint16_t __attribute__((may_alias)) la_history_quarter;

static inline __attribute__((always_inline)) void la_history_store(char *to, const char *from, size_t bytes)
{
    uint64_t word;
    for (; bytes > 0 && (uintptr_t)to % 8 != 0; bytes--)
        __atomic_store_n(to++, *from++, __ATOMIC_RELAXED);
    for (; bytes >= 64; bytes -= 64, to += 64, from += 64)
        for (int k = 0; k < 64; k += 8) {
            memcpy(&word, from + k, 8);
            __atomic_store_n((la_history_word *)(void *)(to + k), word, __ATOMIC_RELAXED);
        }
    for (; bytes >= 8; bytes -= 8, to += 8, from += 8) {
        memcpy(&word, from, 8);
        __atomic_store_n((la_history_word *)(void *)to, word, __ATOMIC_RELAXED);
    }
    for (; bytes > 0; bytes--)
        __atomic_store_n(to++, *from++, __ATOMIC_RELAXED);
}

static inline __attribute__((always_inline)) void la_history_load(char *to, const char *from, size_t bytes)
{
    uint64_t word;
    for (; bytes > 0 && (uintptr_t)from % 8 != 0; bytes--)
        *to++ = __atomic_load_n(from++, __ATOMIC_RELAXED);
    for (; bytes >= 64; bytes -= 64, to += 64, from += 64)
        for (int k = 0; k < 64; k += 8) {
            word = __atomic_load_n((const la_history_word *)(const void *)(from + k), __ATOMIC_RELAXED);
            memcpy(to + k, &word, 8);
        }
    for (; bytes >= 8; bytes -= 8, to += 8, from += 8) {
        word = __atomic_load_n((const la_history_word *)(const void *)from, __ATOMIC_RELAXED);
        memcpy(to, &word, 8);
    }
    for (; bytes > 0; bytes--)
        *to++ = __atomic_load_n(from++, __ATOMIC_RELAXED);
}

static inline __attribute__((always_inline)) void la_history_move(char *shared, char *own, size_t bytes, int storing)
{
    if (storing)
        la_history_store(shared, own, bytes);
    else
        la_history_load(own, shared, bytes);
}

/* An item: one of 2, 4 or 8 bytes lies aligned in the data. */
static inline __attribute__((always_inline)) void la_history_move_item(char *shared, char *own, size_t bytes,
                                                                       int storing)
{
    if (bytes == 4 && storing) {
        uint32_t half;
        memcpy(&half, own, 4);
        __atomic_store_n((la_history_half *)(void *)shared, half, __ATOMIC_RELAXED);
    } else if (bytes == 4) {
        uint32_t half = __atomic_load_n((la_history_half *)(void *)shared, __ATOMIC_RELAXED);
        memcpy(own, &half, 4);
    } else if (bytes == 2 && storing) {
        uint16_t quarter;
        memcpy(&quarter, own, 2);
        __atomic_store_n((la_history_quarter *)(void *)shared, quarter, __ATOMIC_RELAXED);
    } else if (bytes == 2) {
        uint16_t quarter = __atomic_load_n((la_history_quarter *)(void *)shared, __ATOMIC_RELAXED);
        memcpy(own, &quarter, 2);
    } else {
        la_history_move(shared, own, bytes, storing);
    }
}

static inline __attribute__((always_inline)) void la_history_move_channel(char *shared, size_t shared_stride,
                                                                          char *own, ptrdiff_t own_stride,
                                                                          size_t count, size_t bytes, int storing)
{
    for (; count > 0; count--, shared += shared_stride, own += own_stride)
        la_history_move_item(shared, own, bytes, storing);
}

/* Channel by channel: a block to interleave is usually planar. Where a frame's items lie in a row, it is one run. */
static inline __attribute__((always_inline)) void la_history_move_frames(char *shared,
                                                                         const struct la_history_block *own,
                                                                         size_t frames,
                                                                         const struct la_history_format *format,
                                                                         int storing)
{
    size_t frame = format->frame_bytes, item = format->item_bytes;
    if (own->channel_stride == (ptrdiff_t)item && own->frame_stride == (ptrdiff_t)frame) {
        la_history_move(shared, own->at, frames * frame, storing);
        return;
    }
    if (own->channel_stride == (ptrdiff_t)item) {
        for (size_t k = 0; k < frames; k++)
            la_history_move(shared + k * frame, own->at + (ptrdiff_t)k * own->frame_stride, frame, storing);
        return;
    }
    for (size_t c = 0; c < format->channels; c++) {
        char *there = shared + c * item, *here = own->at + (ptrdiff_t)c * own->channel_stride;
        if (item == 4)
            la_history_move_channel(there, frame, here, own->frame_stride, frames, 4, storing);
        else if (item == 8)
            la_history_move_channel(there, frame, here, own->frame_stride, frames, 8, storing);
        else if (item == 2)
            la_history_move_channel(there, frame, here, own->frame_stride, frames, 2, storing);
        else
            la_history_move_channel(there, frame, here, own->frame_stride, frames, item, storing);
    }
}

static inline void la_history_store_frames(char *shared, const struct la_history_block *own, size_t frames,
                                           const struct la_history_format *format)
{
    la_history_move_frames(shared, own, frames, format, 1);
}

static inline void la_history_load_frames(const struct la_history_block *own, char *shared, size_t frames,
                                          const struct la_history_format *format)
{
    la_history_move_frames(shared, own, frames, format, 0);
}

#endif
