/* Copying frames between a ring, where they lie in a row, and an array of any strides. */
#ifndef LOCKEDARRAY_FRAMES_H
#define LOCKEDARRAY_FRAMES_H

#include <stddef.h>

/* Where frames lie: bytes from one frame to the next, and from one channel's item to the next. */
struct frames {
    char *at;
    ptrdiff_t frame_stride, channel_stride;
};

/* What a frame is. */
struct frame_format {
    size_t channels, item_bytes, frame_bytes;
};

void frames_gather(char *to, const struct frames *from, size_t frames, const struct frame_format *format);
void frames_scatter(const struct frames *to, const char *from, size_t frames, const struct frame_format *format);

/* Every item of the frames becomes a copy of one. */
void frames_fill(const struct frames *to, const void *item, size_t frames, const struct frame_format *format);

#endif
