/* A heap: one locked region that NumPy's arrays are allocated in, from any thread, with the GIL or without. */
#ifndef LOCKEDARRAY_HEAP_H
#define LOCKEDARRAY_HEAP_H

#include "region.h"

struct heap;

struct heap_figures {
    size_t capacity, in_use, peak, largest_free; /* bytes of blocks, headers included; the last: of a payload */
    size_t allocations, failures, overflows;     /* since it was made */
};

/* How things stood when memory was last refused, by the heap and perhaps by the system too. */
struct heap_refusal {
    size_t requested, capacity, in_use, largest_free;
    bool overflow;
};

/* Room for whoever hands the heap out, in its locked memory. */
#define HEAP_ATTACHED 256

int heap_init(void);

/* What is locked for a heap of so many bytes, its books included; 0 where there can be none. */
size_t heap_region_bytes(size_t nbytes);

/* A heap in a region of its own. With `overflow` the system gives what the heap cannot. May take long: not with the
   GIL. NULL with *failure set. */
struct heap *heap_create(const struct region_request *request, bool overflow, struct failure *failure);

/* Give everything back; no block of it may be in use any more. */
void heap_release(struct heap *heap);

/* As malloc and its kin, but that each payload of the heap is aligned to 64 bytes. No system call where the mutex is
   free, no page fault. */
void *heap_take(struct heap *heap, size_t nbytes);
void *heap_take_zeroed(struct heap *heap, size_t items, size_t nbytes);
void *heap_retake(struct heap *heap, void *payload, size_t nbytes);
void heap_give(struct heap *heap, void *payload);

bool heap_owns(const struct heap *heap, const void *address);
bool heap_is_locked(const struct heap *heap);
void *heap_attached(struct heap *heap);

/* With `settled` what lies ready for reuse is merged first, so that in_use and largest_free are exact. */
struct heap_figures heap_figures(struct heap *heap, bool settled);

struct heap_refusal heap_last_refusal(struct heap *heap);

/* NULL, or what is wrong. These two hold the mutex for a time that grows with the number of blocks. */
const char *heap_check(struct heap *heap);
void heap_occupancy(struct heap *heap, size_t cells, size_t width, size_t *used);

#endif
