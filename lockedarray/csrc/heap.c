#include "heap.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "shelf.h"

/* A block above this is cut from memory that has merged: what lies ready is emptied out first. It halves how often a
   random mix is refused, and takes a moment that such a block does not feel. */
#define LARGE ((size_t)64 << 10)

/* It lies at the beginning of its own region, where touching it does not fault either. */
struct heap {
    struct shelf shelf;
    struct region *region;
    uintptr_t start, end; /* of the blocks */
    bool overflow;
    struct heap *next, *previous; /* guarded by `heaps_mutex` */
    /* Relaxed: they are read as figures only, and publish nothing. On a line of their own, for every thread writes. */
    _Alignas(64) _Atomic size_t allocations, failures, overflows;
    /* The mutex guards what follows. It lends a waiting thread's priority to whoever holds it: for moments, but for
       looking at all blocks, and for a fork. */
    _Alignas(64) pthread_mutex_t mutex;
    struct tlsf tlsf;
    size_t peak;
    struct heap_refusal refusal; /* the last */
    _Alignas(64) char attached[HEAP_ATTACHED];
};

_Static_assert(sizeof(struct heap) % TLSF_GRAIN == 0, "what follows it is aligned");

/* All of them, for fork. */
static pthread_mutex_t heaps_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct heap *heaps;

/* Making and giving back. */

static int init_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error == 0) {
        error = pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
        if (error == 0) /* a second lock by the same thread is told, and does not wait for ever */
            error = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
        if (error == 0)
            error = pthread_mutex_init(mutex, &attributes);
        pthread_mutexattr_destroy(&attributes);
    }
    return -error;
}

static void enlist(struct heap *heap)
{
    pthread_mutex_lock(&heaps_mutex);
    heap->next = heaps;
    if (heaps != NULL)
        heaps->previous = heap;
    heaps = heap;
    pthread_mutex_unlock(&heaps_mutex);
}

static void strike_off(struct heap *heap)
{
    pthread_mutex_lock(&heaps_mutex);
    if (heap->next != NULL)
        heap->next->previous = heap->previous;
    if (heap->previous != NULL)
        heap->previous->next = heap->next;
    else
        heaps = heap->next;
    pthread_mutex_unlock(&heaps_mutex);
}

/* An array of all that was asked for fits: its block has a header besides. */
static size_t capacity_for(size_t nbytes)
{
    return nbytes < TLSF_MOST / 2 ? region_pages(nbytes + TLSF_GRAIN) : 0;
}

size_t heap_region_bytes(size_t nbytes)
{
    size_t capacity = capacity_for(nbytes);
    return capacity == 0 ? 0 : region_pages(sizeof(struct heap) + tlsf_memory(capacity));
}

struct heap *heap_create(const struct region_request *request, bool overflow, struct failure *failure)
{
    size_t capacity = capacity_for(request->nbytes);
    struct region_request whole = *request;
    *failure = (struct failure){"mmap", -ENOMEM};
    if (capacity == 0)
        return NULL;
    whole.nbytes = sizeof(struct heap) + tlsf_memory(capacity);
    struct region *region = region_create(&whole, failure);
    if (region == NULL)
        return NULL;
    struct heap *heap = (struct heap *)region->address; /* fresh pages are zero */
    *failure = (struct failure){"pthread_mutex_init", init_mutex(&heap->mutex)};
    if (failure->error < 0) {
        region_release(region);
        return NULL;
    }
    heap->region = region;
    heap->overflow = overflow;
    heap->start = heap->shelf.base = region->address + sizeof(struct heap);
    heap->end = heap->start + tlsf_memory(capacity);
    tlsf_init(&heap->tlsf, (void *)heap->start, capacity);
    enlist(heap);
    return heap;
}

void heap_release(struct heap *heap)
{
    strike_off(heap);
    pthread_mutex_destroy(&heap->mutex);
    region_release(heap->region);
}

/* Blocks. */

/* Writing beyond an array's end hits the next block's header. As malloc does: better to stop here than to hand out
   memory that is somebody else's. */
static void check_sound(bool sound)
{
    if (!sound)
        os_abort("lockedarray: a heap is damaged: something wrote beyond the end of an array in it\n");
}

static void give(struct heap *heap, void *payload)
{
    tlsf_give(&heap->tlsf, payload);
    check_sound(!heap->tlsf.damaged);
}

static size_t size_of(const struct heap *heap, const void *payload)
{
    size_t size = tlsf_size_of(&heap->tlsf, payload);
    check_sound(size != 0);
    return size;
}

static void count(_Atomic size_t *events)
{
    atomic_fetch_add_explicit(events, 1, memory_order_relaxed);
}

static void enter(struct heap *heap)
{
    if (pthread_mutex_lock(&heap->mutex) != 0)
        os_abort("lockedarray: a heap's mutex cannot be had: a signal handler used the heap it interrupted\n");
}

static void leave(struct heap *heap)
{
    pthread_mutex_unlock(&heap->mutex);
}

/* Under the mutex: what lies on the shelf is free memory again, and merges. */
static void clear_shelf(struct heap *heap)
{
    void *payload;
    for (int at = 0; (payload = shelf_clear(&heap->shelf, &at)) != NULL;)
        give(heap, payload);
}

/* What lies on the shelf counts as in use there, and is not. */
static void note_peak(struct heap *heap)
{
    if (heap->tlsf.in_use <= heap->peak)
        return;
    clear_shelf(heap);
    if (heap->tlsf.in_use > heap->peak)
        heap->peak = heap->tlsf.in_use;
}

/* How things stand at this moment, for who has to tell it. */
static void note_refusal(struct heap *heap, size_t nbytes)
{
    heap->refusal = (struct heap_refusal){
        .requested = nbytes,
        .capacity = heap->tlsf.capacity,
        .in_use = heap->tlsf.in_use,
        .largest_free = tlsf_largest(&heap->tlsf),
        .overflow = heap->overflow,
    };
}

static void *take_block(struct heap *heap, size_t size, size_t nbytes)
{
    enter(heap);
    if (size > LARGE)
        clear_shelf(heap);
    void *payload = tlsf_take(&heap->tlsf, size);
    if (payload == NULL) {
        clear_shelf(heap);
        payload = tlsf_take(&heap->tlsf, size);
    }
    check_sound(!heap->tlsf.damaged);
    if (payload != NULL)
        note_peak(heap);
    else
        note_refusal(heap, nbytes);
    leave(heap);
    return payload;
}

/* NULL where the heap is full. */
static void *take(struct heap *heap, size_t nbytes)
{
    size_t size = tlsf_block_size(nbytes);
    void *payload = size <= SHELF_MOST ? shelf_take(&heap->shelf, size) : NULL;
    if (payload == NULL)
        payload = take_block(heap, size, nbytes);
    if (payload != NULL)
        count(&heap->allocations);
    return payload;
}

/* What a full heap answers: memory of the system, if so agreed. */
static void *take_elsewhere(struct heap *heap, void *from_system)
{
    count(from_system != NULL ? &heap->overflows : &heap->failures);
    return from_system;
}

void *heap_take(struct heap *heap, size_t nbytes)
{
    void *payload = take(heap, nbytes);
    return payload != NULL ? payload : take_elsewhere(heap, heap->overflow ? malloc(nbytes) : NULL);
}

void *heap_take_zeroed(struct heap *heap, size_t items, size_t nbytes)
{
    size_t total;
    if (__builtin_mul_overflow(items, nbytes, &total))
        total = SIZE_MAX; /* which there never is */
    void *payload = take(heap, total);
    if (payload != NULL)
        return memset(payload, 0, total);
    return take_elsewhere(heap, heap->overflow ? calloc(1, total) : NULL);
}

void heap_give(struct heap *heap, void *payload)
{
    if (payload == NULL)
        return;
    if (!heap_owns(heap, payload)) {
        free(payload);
        return;
    }
    size_t size = size_of(heap, payload); /* not what NumPy says: it does not always say the same as before */
    if (size <= SHELF_MOST)
        payload = shelf_put(&heap->shelf, payload, size);
    if (payload == NULL)
        return;
    enter(heap);
    give(heap, payload);
    leave(heap);
}

static bool resize(struct heap *heap, void *payload, size_t size)
{
    if (size_of(heap, payload) == size)
        return true;
    enter(heap);
    bool resized = tlsf_resize(&heap->tlsf, payload, size);
    if (!resized) {
        clear_shelf(heap); /* what lies behind it may only lie ready */
        resized = tlsf_resize(&heap->tlsf, payload, size);
    }
    check_sound(!heap->tlsf.damaged);
    if (resized)
        note_peak(heap);
    leave(heap);
    return resized;
}

void *heap_retake(struct heap *heap, void *payload, size_t nbytes)
{
    if (payload == NULL)
        return heap_take(heap, nbytes);
    if (!heap_owns(heap, payload))
        return take_elsewhere(heap, realloc(payload, nbytes));
    size_t size = tlsf_block_size(nbytes);
    if (size != 0 && resize(heap, payload, size))
        return payload;
    void *moved = heap_take(heap, nbytes);
    if (moved != NULL) {
        size_t kept = tlsf_payload_of(size_of(heap, payload));
        memcpy(moved, payload, kept < nbytes ? kept : nbytes);
        heap_give(heap, payload);
    }
    return moved;
}

/* Figures. */

bool heap_owns(const struct heap *heap, const void *address)
{
    return (uintptr_t)address - heap->start < heap->end - heap->start;
}

bool heap_is_locked(const struct heap *heap)
{
    return registry_is_locked(&heap->region->hold);
}

void *heap_attached(struct heap *heap)
{
    return heap->attached;
}

struct heap_figures heap_figures(struct heap *heap, bool settled)
{
    enter(heap);
    if (settled)
        clear_shelf(heap);
    struct heap_figures figures = {
        .capacity = heap->tlsf.capacity,
        .in_use = heap->tlsf.in_use,
        .peak = heap->peak,
        .largest_free = tlsf_largest(&heap->tlsf),
        .allocations = atomic_load_explicit(&heap->allocations, memory_order_relaxed),
        .failures = atomic_load_explicit(&heap->failures, memory_order_relaxed),
        .overflows = atomic_load_explicit(&heap->overflows, memory_order_relaxed),
    };
    check_sound(!heap->tlsf.damaged);
    leave(heap);
    return figures;
}

struct heap_refusal heap_last_refusal(struct heap *heap)
{
    enter(heap);
    struct heap_refusal refusal = heap->refusal;
    leave(heap);
    return refusal;
}

const char *heap_check(struct heap *heap)
{
    enter(heap);
    const char *wrong = tlsf_check(&heap->tlsf);
    leave(heap);
    return wrong;
}

void heap_occupancy(struct heap *heap, size_t cells, size_t width, size_t *used)
{
    enter(heap);
    clear_shelf(heap);
    tlsf_occupancy(&heap->tlsf, cells, width, used);
    check_sound(!heap->tlsf.damaged);
    leave(heap);
}

/* Fork: whoever held a mutex in another thread does not exist in the child, so that all are held by the thread that
   forks, and the child gets its heaps whole. */

static void before_fork(void)
{
    pthread_mutex_lock(&heaps_mutex);
    for (struct heap *heap = heaps; heap != NULL; heap = heap->next)
        enter(heap);
}

static void after_fork_in_parent(void)
{
    for (struct heap *heap = heaps; heap != NULL; heap = heap->next)
        leave(heap);
    pthread_mutex_unlock(&heaps_mutex);
}

/* A mutex that inherits priority belongs to a thread by number, and the child's is another. */
static void after_fork_in_child(void)
{
    for (struct heap *heap = heaps; heap != NULL; heap = heap->next)
        init_mutex(&heap->mutex);
    pthread_mutex_unlock(&heaps_mutex);
}

int heap_init(void)
{
    return -pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}
