/* lockedarray's history for C11 and C++17: one writer, any number of readers, no lock, no call into a library.

       #include <lockedarray/history.h>        cc -I$(python -c 'import lockedarray; print(lockedarray.get_include())')

       struct parameters now;
       int64_t number = LA_HISTORY_NEWEST;
       if (la_history_read(la_history_at(address), &now, 1, &number) == 0)          // address: HistoryBuffer.address
           use(&now);

   The writer never waits and is never full: it forgets. Readers leave no trace in the memory, so that there may be any
   number of them; each checks after its copy that the writer did not come by meanwhile. Nothing here allocates, blocks
   or makes a system call. Whoever has the address must keep the HistoryBuffer alive.

   Memory
   ------
   A history is one file in memory (memfd), sealed against shrinking and growing, of one page of header and whole pages
   of data. Each process maps

       | private page | header | data | data again |
                      |----- file ----|

   so that any run of up to data_bytes is contiguous wherever it starts. Frames are numbered from 0 on and the numbers
   never wrap; frame k lies at byte k * frame_bytes modulo data_bytes. Before the first are zeros.

   Who sees what
   -------------
   The writer announces (`begun`) what it is about to overwrite, copies, and then says that it is there (`written`), a
   piece of the block at a time. Frame k is whole as long as k < written and begun - k <= memory_frames. Frames are
   whole, blocks need not be: one of up to a quarter of `frames` appears at once, a longer one in pieces.

   Copies race by design. That is defined, since all of them load and store the shared bytes atomically (relaxed), in
   words of 8 bytes; what was torn is found by the two indices, and thrown away.

   Trust
   -----
   What a process relies on lies in its private page. Of the header it reads the two indices, which are checked: another
   process can write wrong frames, but not make this one read or write anywhere else. */
#ifndef LOCKEDARRAY_INCLUDED_HISTORY_H
#define LOCKEDARRAY_INCLUDED_HISTORY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "history_copy.h"

#define LA_HISTORY_MAGIC UINT64_C(0x747369686b636f6c) /* "lockhist" in memory */
#define LA_HISTORY_VERSION 1u

/* The number that stands for the newest frames, as many as are asked for. */
#define LA_HISTORY_NEWEST INT64_MAX

/* How often a copy is tried. */
#define LA_HISTORY_TRIES 16

/* What a call returns in place of 0. */
enum {
    LA_HISTORY_CORRUPTED = -1, /* the indices cannot be: somebody else wrote there, or two write at once */
    LA_HISTORY_OVERTAKEN = -2, /* the writer came by in each of LA_HISTORY_TRIES tries */
    LA_HISTORY_NOT_YET = -3,   /* not all of these frames have been written */
    LA_HISTORY_TOO_MANY = -4   /* more frames than the history keeps */
};

/* Two cache lines: prefetchers fetch pairs. */
#define LA_HISTORY_LINE __attribute__((aligned(128)))

/* The header, byte by byte; numbers in the machine's own order. What is set by the maker does not change. Bytes that
   are not named are zero. */
struct la_history_shared {
    uint64_t magic;        /*    0 LA_HISTORY_MAGIC, set by the maker */
    uint32_t version;      /*    8 LA_HISTORY_VERSION */
    uint32_t page_bytes;   /*   12 of the header; data begins there in the file */
    uint64_t frames;       /*   16 that a reader may ask for at once */
    uint64_t data_bytes;   /*   24 a multiple of page_bytes, with room for twice the frames, and for 4 */
    uint64_t frame_bytes;  /*   32 channels * item_bytes */
    uint32_t item_bytes;   /*   40 */
    uint32_t channels;     /*   44 0: one item a frame, and blocks are 1-D */
    uint32_t dtype_length; /*   48 of the text at LA_HISTORY_DTYPE; 0: not named */
    uint32_t : 32;

    LA_HISTORY_LINE uint64_t written; /* 128 frames that are there; this line is the writer's */
    uint64_t begun;        /*  136 frames that are there, or are being written */
};

/* A text such as '<f4', as NumPy writes dtypes into .npy files: at this byte of the header, to its end at most. */
#define LA_HISTORY_DTYPE 1024u

struct la_history {
    struct la_history_shared *shared;
    char *data; /* twice in a row */
    uint64_t frames;
    uint64_t memory_frames; /* that data_bytes hold */
    uint64_t piece;         /* frames that are announced at once, at most */
    size_t data_bytes;
    struct la_history_format format;
    LA_HISTORY_LINE uint64_t index; /* the writer's: what it has written, */
    size_t position;                /* and where that ends in the data */
};

#define LA_HISTORY_LIKELY(condition) __builtin_expect(!!(condition), 1)

/* From HistoryBuffer.address. */
static inline struct la_history *la_history_at(uintptr_t address)
{
    return (struct la_history *)address;
}

/* Where a frame lies: of any number, inside of the data. */
static inline size_t la_history_position(const struct la_history *history, uint64_t number)
{
    __extension__ typedef unsigned __int128 wide;
    uint64_t bytes;
    if (LA_HISTORY_LIKELY(!__builtin_mul_overflow(number, history->format.frame_bytes, &bytes)))
        return (size_t)(bytes % history->data_bytes);
    return (size_t)((wide)number * history->format.frame_bytes % history->data_bytes);
}

static inline struct la_history_block la_history_in_a_row(const struct la_history *history, const void *at)
{
    struct la_history_block block = {(char *)(uintptr_t)at, (ptrdiff_t)history->format.frame_bytes,
                                     (ptrdiff_t)history->format.item_bytes};
    return block;
}

/* The indices */

/* Both indices as anybody may read them; 0, or LA_HISTORY_CORRUPTED. */
static inline int la_history_indices(const struct la_history *history, uint64_t *written, uint64_t *begun)
{
    /* `begun` first. Pairs with its release in la_history_begin: the `written` before it is then seen, so that no more
       than a piece can lie between them. */
    *begun = __atomic_load_n(&history->shared->begun, __ATOMIC_ACQUIRE);
    /* Pairs with the release in la_history_end: the frames before this index are in the data. */
    *written = __atomic_load_n(&history->shared->written, __ATOMIC_ACQUIRE);
    if (!LA_HISTORY_LIKELY(*begun >= *written)) { /* written meanwhile, and begun before that */
        if (__atomic_load_n(&history->shared->begun, __ATOMIC_RELAXED) < *written)
            return LA_HISTORY_CORRUPTED;
        *begun = *written;
    }
    if (LA_HISTORY_LIKELY(*begun - *written <= history->piece && *written <= UINT64_MAX / 4))
        return 0;
    return LA_HISTORY_CORRUPTED;
}

/* What the writer has begun, after everything that was read before this call. */
static inline uint64_t la_history_begun(const struct la_history *history)
{
    /* Pairs with the release fence in la_history_begin: if one byte of ours was the writer's new one, then the index
       loaded here counts it. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&history->shared->begun, __ATOMIC_RELAXED);
}

/* The number of the oldest frame that is whole, and was during all reads before; below 0 while there is no older than
   the first. What was read in place is good if it begins no earlier. */
static inline int64_t la_history_oldest(const struct la_history *history)
{
    return (int64_t)(la_history_begun(history) - history->memory_frames);
}

/* Writing */

/* Announce the next frames, at most `wanted` and a piece, and say where they go; how many, or LA_HISTORY_CORRUPTED. */
static inline int64_t la_history_begin(struct la_history *history, uint64_t wanted, char **at)
{
    struct la_history_shared *shared = history->shared;
    /* Pairs with the release of whoever wrote before, in this process or another; mostly that was this one. */
    uint64_t written = __atomic_load_n(&shared->written, __ATOMIC_ACQUIRE);
    uint64_t begun = __atomic_load_n(&shared->begun, __ATOMIC_RELAXED);
    if (!LA_HISTORY_LIKELY(begun - written <= history->piece && written <= UINT64_MAX / 4))
        return LA_HISTORY_CORRUPTED;
    if (!LA_HISTORY_LIKELY(written == history->index)) {
        history->index = written;
        history->position = la_history_position(history, written);
    }
    uint64_t frames = wanted < history->piece ? wanted : history->piece;
    /* A writer that was killed may have begun more: what it spoilt stays lost. The release is for the `written` before
       it; pairs with the acquire in la_history_indices. */
    if (written + frames > begun)
        __atomic_store_n(&shared->begun, written + frames, __ATOMIC_RELEASE);
    /* The index before the bytes; pairs with the acquire fence in la_history_begun. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    *at = history->data + history->position;
    return (int64_t)frames;
}

/* The announced frames are there. */
static inline void la_history_end(struct la_history *history, uint64_t frames)
{
    size_t position = history->position + (size_t)frames * history->format.frame_bytes;
    history->position = position >= history->data_bytes ? position - history->data_bytes : position;
    history->index += frames;
    /* Publishes the frames just written; pairs with the acquire in la_history_indices. */
    __atomic_store_n(&history->shared->written, history->index, __ATOMIC_RELEASE);
}

/* Write a block from strides; 0, or LA_HISTORY_CORRUPTED. */
static inline int la_history_write_strided(struct la_history *history, struct la_history_block block, uint64_t frames)
{
    while (frames > 0) {
        char *at;
        int64_t piece = la_history_begin(history, frames, &at);
        if (piece < 0)
            return (int)piece;
        la_history_store_frames(at, &block, (size_t)piece, &history->format);
        la_history_end(history, (uint64_t)piece);
        block.at += (ptrdiff_t)piece * block.frame_stride;
        frames -= (uint64_t)piece;
    }
    return 0;
}

static inline int la_history_write(struct la_history *history, const void *block, uint64_t frames)
{
    return la_history_write_strided(history, la_history_in_a_row(history, block), frames);
}

/* Reading */

/* Frames copied between two looks at what the writer has begun: a reader as fast as the writer stays ahead of it,
   however many it reads. */
#define LA_HISTORY_STEP_BYTES 4096u

/* Copy frames that seem whole, oldest first; 0, OVERTAKEN, or CORRUPTED. */
static inline int la_history_copy(const struct la_history *history, struct la_history_block out, uint64_t first,
                                  uint64_t frames, uint64_t written)
{
    char *from = history->data + la_history_position(history, first);
    uint64_t most = LA_HISTORY_STEP_BYTES / history->format.frame_bytes + 1;
    while (frames > 0) {
        uint64_t step = frames < most ? frames : most;
        la_history_load_frames(&out, from, (size_t)step, &history->format);
        uint64_t begun = la_history_begun(history);
        if (!LA_HISTORY_LIKELY(begun >= written))
            return LA_HISTORY_CORRUPTED; /* it counts all that is written */
        if (!LA_HISTORY_LIKELY(begun - first <= history->memory_frames))
            return LA_HISTORY_OVERTAKEN;
        from += step * history->format.frame_bytes;
        out.at += (ptrdiff_t)step * out.frame_stride;
        first += step;
        frames -= step;
    }
    return 0;
}

/* Before the first frame are zeros. */
static inline void la_history_clear(const struct la_history *history, struct la_history_block out, uint64_t frames)
{
    for (uint64_t k = 0; k < frames; k++, out.at += out.frame_stride)
        for (size_t c = 0; c < history->format.channels; c++)
            memset(out.at + (ptrdiff_t)c * out.channel_stride, 0, history->format.item_bytes);
}

/* Where to read on the given try: what is lost is left out, and each try keeps further away from the writer, until the
   last one takes the newest frames. */
static inline int64_t la_history_first(int64_t wanted, uint64_t frames, int64_t oldest, int64_t newest, int tries)
{
    int64_t begin = wanted < 0 ? 0 : wanted; /* the first frame that was ever written */
    if (begin >= oldest || wanted + (int64_t)frames <= 0)
        return wanted;
    return oldest + (int64_t)((uint64_t)(newest - oldest) * (uint64_t)tries / (LA_HISTORY_TRIES - 1));
}

/* Copy frames into strides, beginning with frame *number, or LA_HISTORY_NEWEST; *number becomes that of the first in
   `out`, larger where frames have been overwritten. 0, or one of the errors above: `out` then holds anything. */
static inline int la_history_read_strided(const struct la_history *history, struct la_history_block out,
                                          uint64_t frames, int64_t *number)
{
    const int64_t wanted = *number;
    if (frames > history->frames)
        return LA_HISTORY_TOO_MANY;
    for (int tries = 0; tries < LA_HISTORY_TRIES; tries++) {
        uint64_t written, begun;
        if (la_history_indices(history, &written, &begun) < 0)
            return LA_HISTORY_CORRUPTED;
        int64_t newest = (int64_t)(written - frames);
        int64_t oldest = (int64_t)(begun - history->memory_frames);
        if (wanted != LA_HISTORY_NEWEST && wanted > newest)
            return LA_HISTORY_NOT_YET;
        int64_t first =
            wanted == LA_HISTORY_NEWEST ? newest : la_history_first(wanted, frames, oldest, newest, tries);
        uint64_t zeros = first >= 0 ? 0 : first <= -(int64_t)frames ? frames : (uint64_t)-first;
        struct la_history_block rest = out;
        rest.at += (ptrdiff_t)zeros * out.frame_stride;
        int state = la_history_copy(history, rest, (uint64_t)first + zeros, frames - zeros, written);
        if (LA_HISTORY_LIKELY(state == 0)) {
            la_history_clear(history, out, zeros);
            *number = first;
        }
        if (LA_HISTORY_LIKELY(state != LA_HISTORY_OVERTAKEN))
            return state;
    }
    return LA_HISTORY_OVERTAKEN;
}

static inline int la_history_read(const struct la_history *history, void *out, uint64_t frames, int64_t *number)
{
    return la_history_read_strided(history, la_history_in_a_row(history, out), frames, number);
}

/* The newest frames in place: 0 with *at, one contiguous piece, and *number of its first, or an error. It stays whole
   until the writer has begun memory_frames - frames more, and la_history_oldest(history) <= *number says that it has
   been. To be read with atomic loads, or by whoever knows that the writer is slower. */
static inline int la_history_latest(const struct la_history *history, uint64_t frames, const void **at,
                                    int64_t *number)
{
    uint64_t written, begun;
    if (frames > history->frames)
        return LA_HISTORY_TOO_MANY;
    if (la_history_indices(history, &written, &begun) < 0)
        return LA_HISTORY_CORRUPTED;
    *number = (int64_t)(written - frames);
    /* A negative number lies where a positive one of the same place lies: the data hold whole pages, not frames. */
    size_t position = la_history_position(history, written), back = (size_t)frames * history->format.frame_bytes;
    *at = history->data + (position >= back ? position - back : position + history->data_bytes - back);
    return 0;
}

#endif
