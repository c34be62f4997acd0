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

/* A place holds a payload's address, whose low bits are zero, and in them six bits of the block's size. */
struct shelf {
    _Alignas(64) _Atomic uintptr_t places[SHELF_ROWS * SHELF_WIDTH];
};

static inline _Atomic uintptr_t *shelf_row(struct shelf *shelf, size_t size)
{
    return shelf->places + SHELF_WIDTH * (size / TLSF_GRAIN * UINT64_C(0x9e3779b97f4a7c15) >> 61);
}

static inline uintptr_t shelf_mark(size_t size)
{
    return size / TLSF_GRAIN % TLSF_GRAIN;
}

static inline void *shelf_payload(uintptr_t place)
{
    return (void *)(place & ~(uintptr_t)(TLSF_GRAIN - 1));
}

/* A block that probably has that size, or NULL. */
static inline void *shelf_take(struct shelf *shelf, size_t size)
{
    _Atomic uintptr_t *row = shelf_row(shelf, size);
    for (int i = 0; i < SHELF_WIDTH; i++) {
        uintptr_t place = atomic_load_explicit(&row[i], memory_order_relaxed); /* a guess, which the exchange confirms */
        /* Acquire: pairs with the release of shelf_put, after the last access of who gave the block back. */
        if (place != 0 && place % TLSF_GRAIN == shelf_mark(size) &&
            atomic_compare_exchange_strong_explicit(&row[i], &place, 0, memory_order_acquire, memory_order_relaxed))
            return shelf_payload(place);
    }
    return NULL;
}

/* Put a block there; returns NULL, or the block that has to leave for it. */
static inline void *shelf_put(struct shelf *shelf, void *payload, size_t size)
{
    _Atomic uintptr_t *row = shelf_row(shelf, size);
    uintptr_t place = (uintptr_t)payload | shelf_mark(size);
    for (int i = 0; i < SHELF_WIDTH; i++) {
        uintptr_t empty = 0;
        /* Release: what was done to the block's memory happens before what its next owner does; see shelf_take. */
        if (atomic_load_explicit(&row[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&row[i], &empty, place, memory_order_release, memory_order_relaxed))
            return NULL;
    }
    /* Any may leave, so that sizes out of use do not stay for ever. Both orders, for it is a put and a take. */
    return shelf_payload(atomic_exchange_explicit(&row[shelf_mark(size) % SHELF_WIDTH], place, memory_order_acq_rel));
}

/* A block of any size, from *at on, or NULL at the end. */
static inline void *shelf_clear(struct shelf *shelf, int *at)
{
    for (; *at < SHELF_ROWS * SHELF_WIDTH; ++*at) {
        _Atomic uintptr_t *place = &shelf->places[*at];
        if (atomic_load_explicit(place, memory_order_relaxed) != 0) {
            /* Acquire: as in shelf_take. */
            void *payload = shelf_payload(atomic_exchange_explicit(place, 0, memory_order_acquire));
            if (payload != NULL)
                return payload;
        }
    }
    return NULL;
}

#endif
