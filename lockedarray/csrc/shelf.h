/* Blocks that were given back and lie ready for the next request of their size: NumPy's temporaries come and go in the
   same few sizes, and a block from here costs one atomic operation instead of the mutex. Nobody waits, any thread may
   take what any other put. Whoever needs the blocks' memory, or its sum, empties the shelf first. */
#ifndef LOCKEDARRAY_SHELF_H
#define LOCKEDARRAY_SHELF_H

#include <stdatomic.h>
#include <stdint.h>

#include "tlsf.h"

#define SHELF_ROWS 8  /* sizes are spread over them */
#define SHELF_WIDTH 8 /* one cache line */
#define SHELF_MOST (((size_t)2 << 20) + TLSF_GRAIN) /* larger blocks take longer to fill than the mutex costs */

/* A place holds which block lies there, and of what size, both in grains: the offset from `base` above, the size in the
   lowest 16 bits. Neither is ever 0. */
struct shelf {
    _Alignas(64) _Atomic uint64_t places[SHELF_ROWS * SHELF_WIDTH];
    uintptr_t base;
};

#define SHELF_SIZE_BITS 16
_Static_assert(SHELF_MOST / TLSF_GRAIN < 1 << SHELF_SIZE_BITS, "a size fits into its bits");

static inline _Atomic uint64_t *shelf_row(struct shelf *shelf, size_t size)
{
    return shelf->places + SHELF_WIDTH * (size / TLSF_GRAIN * UINT64_C(0x9e3779b97f4a7c15) >> 61);
}

static inline bool shelf_has_size(uint64_t place, size_t size)
{
    return place % (1 << SHELF_SIZE_BITS) == size / TLSF_GRAIN;
}

static inline void *shelf_payload(const struct shelf *shelf, uint64_t place)
{
    return place == 0 ? NULL : (void *)(shelf->base + (place >> SHELF_SIZE_BITS) * TLSF_GRAIN);
}

/* A block of that size, or NULL. */
static inline void *shelf_take(struct shelf *shelf, size_t size)
{
    _Atomic uint64_t *row = shelf_row(shelf, size);
    for (int i = 0; i < SHELF_WIDTH; i++) {
        uint64_t place = atomic_load_explicit(&row[i], memory_order_relaxed); /* a guess, which the exchange confirms */
        /* Acquire: pairs with the release of shelf_put, after the last access of who gave the block back. */
        if (shelf_has_size(place, size) &&
            atomic_compare_exchange_strong_explicit(&row[i], &place, 0, memory_order_acquire, memory_order_relaxed))
            return shelf_payload(shelf, place);
    }
    return NULL;
}

/* Put a block there; returns NULL, or the block that has to leave for it. */
static inline void *shelf_put(struct shelf *shelf, void *payload, size_t size)
{
    _Atomic uint64_t *row = shelf_row(shelf, size);
    uint64_t offset = ((uintptr_t)payload - shelf->base) / TLSF_GRAIN;
    uint64_t place = offset << SHELF_SIZE_BITS | size / TLSF_GRAIN;
    for (int i = 0; i < SHELF_WIDTH; i++) {
        uint64_t empty = 0;
        /* Release: what was done to the block's memory happens before what its next owner does; see shelf_take. */
        if (atomic_load_explicit(&row[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&row[i], &empty, place, memory_order_release, memory_order_relaxed))
            return NULL;
    }
    /* Any may leave, now this and now that, so that sizes out of use do not stay for ever. Both orders, for it is a
       put and a take. */
    uint64_t left = atomic_exchange_explicit(&row[(offset ^ offset >> 3) % SHELF_WIDTH], place, memory_order_acq_rel);
    return shelf_payload(shelf, left);
}

/* A block of any size, from *at on, or NULL at the end. */
static inline void *shelf_clear(struct shelf *shelf, int *at)
{
    for (; *at < SHELF_ROWS * SHELF_WIDTH; ++*at) {
        _Atomic uint64_t *place = &shelf->places[*at];
        if (atomic_load_explicit(place, memory_order_relaxed) != 0) {
            /* Acquire: as in shelf_take. */
            void *payload = shelf_payload(shelf, atomic_exchange_explicit(place, 0, memory_order_acquire));
            if (payload != NULL)
                return payload;
        }
    }
    return NULL;
}

#endif
