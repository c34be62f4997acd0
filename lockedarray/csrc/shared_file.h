/* The file behind memory that processes share: what the headers of rings and histories have in common, how somebody
   else's is verified, and the checks of what such memory is asked to hold. */
#ifndef LOCKEDARRAY_SHARED_FILE_H
#define LOCKEDARRAY_SHARED_FILE_H

#include "objects.h"

/* How both headers begin. */
struct shared_header {
    uint64_t magic;
    uint32_t version;
    uint32_t page_bytes;
    uint64_t frames;
    uint64_t data_bytes;
    uint64_t frame_bytes;
    uint32_t item_bytes;
    uint32_t channels;     /* 0: one item a frame, and blocks are 1-D */
    uint32_t dtype_length; /* of the text at SHARED_DTYPE; 0: it cannot be described */
    uint32_t : 32;
};

/* The text of a dtype ends with the smallest page. */
#define SHARED_DTYPE 1024
#define SHARED_DTYPE_ROOM (4096 - SHARED_DTYPE)

/* What kind of memory it is. */
struct shared_kind {
    const char *name;      /* for messages */
    const char *open_call; /* what failed, where it cannot be opened */
    uint64_t magic;
    uint32_t version;
    bool (*fits)(uint64_t frames, uint64_t frame_bytes, uint64_t data_bytes);
};

/* What Python asked for, checked; each -1 and an exception. */
int shared_check_dtype(const struct shared_kind *kind, PyArray_Descr *descr);
int shared_take_positive(PyObject *object, const char *name, size_t *count);

/* frames, channels or None, bytes of an item, text of the dtype: of somebody else's file. */
PyObject *shared_describe(const struct shared_kind *kind, PyObject *descriptor);

/* A new file for what the header says; or somebody else's, if fd is not -1, which must have just that header: opened
   anew, so that it is ours alone. A descriptor, or -1 and an exception. */
int shared_open(const struct shared_kind *kind, const struct shared_header *header, int fd);

/* Into a new file's first page, the magic last. */
void shared_write_header(void *page, const struct shared_kind *kind, const struct shared_header *header,
                         const char *dtype_text);

#endif
