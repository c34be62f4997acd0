#include "frames.h"

#include <stdint.h>
#include <string.h>

/* One channel: `count` items, at a stride on each side. A size known to the compiler makes each copy one move. */
static inline __attribute__((always_inline)) void copy_items(char *to, ptrdiff_t to_stride, const char *from,
                                                             ptrdiff_t from_stride, size_t count, size_t item_bytes)
{
    for (size_t k = 0; k < count; k++) {
        memmove(to, from, item_bytes);
        to += to_stride;
        from += from_stride;
    }
}

static void copy_channel(char *to, ptrdiff_t to_stride, const char *from, ptrdiff_t from_stride, size_t count,
                         size_t item_bytes)
{
    switch (item_bytes) {
    case 1:
        copy_items(to, to_stride, from, from_stride, count, 1);
        break;
    case 2:
        copy_items(to, to_stride, from, from_stride, count, 2);
        break;
    case 4:
        copy_items(to, to_stride, from, from_stride, count, 4);
        break;
    case 8:
        copy_items(to, to_stride, from, from_stride, count, 8);
        break;
    default:
        copy_items(to, to_stride, from, from_stride, count, item_bytes);
    }
}

/* Channel by channel: the block to interleave is usually planar, each channel in a row. Where the channels of a frame
   lie in a row on both sides, a frame is one item. */
static void copy(const struct frames *to, const struct frames *from, size_t frames, const struct frame_format *format)
{
    ptrdiff_t item = (ptrdiff_t)format->item_bytes;
    if (to->channel_stride == item && from->channel_stride == item) {
        copy_channel(to->at, to->frame_stride, from->at, from->frame_stride, frames, format->frame_bytes);
        return;
    }
    for (ptrdiff_t channel = 0; channel < (ptrdiff_t)format->channels; channel++)
        copy_channel(to->at + channel * to->channel_stride, to->frame_stride,
                     from->at + channel * from->channel_stride, from->frame_stride, frames, format->item_bytes);
}

static struct frames in_a_row(const char *at, const struct frame_format *format)
{
    return (struct frames){(char *)(uintptr_t)at, (ptrdiff_t)format->frame_bytes, (ptrdiff_t)format->item_bytes};
}

void frames_gather(char *to, const struct frames *from, size_t frames, const struct frame_format *format)
{
    struct frames row = in_a_row(to, format);
    copy(&row, from, frames, format);
}

void frames_scatter(const struct frames *to, const char *from, size_t frames, const struct frame_format *format)
{
    struct frames row = in_a_row(from, format);
    copy(to, &row, frames, format);
}

void frames_fill(const struct frames *to, const void *item, size_t frames, const struct frame_format *format)
{
    struct frames same = {(char *)(uintptr_t)item, 0, 0};
    copy(to, &same, frames, format);
}
