/* A heap under random use from several threads, each of which also gives back what others took:

       heap_fuzz OPERATIONS THREADS PERCENT [SEED [FORKS]]

   PERCENT of the heap is in use after a while. Each block is held against its alignment, its content (all of a small
   one; of a large one the ends and a byte a page), and a map of who owns which 64 bytes. A refusal is an error where
   the heap says that so much is free in one piece. Meanwhile FORKS children use what they inherit of the heap. In the end
   nothing may be in use, and the heap be one block again. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap.h"
#include "tlsf.h"

#define HEAP_BYTES ((size_t)64 << 20)
#define LARGEST_LOG2 20
#define BLOCKS 4096 /* of all threads */
#define PASSED 16   /* on their way from one thread to another */
#define EDGE 512

struct block {
    unsigned char *payload;
    size_t nbytes;
    uint32_t owner; /* a number of its own, never 0 */
};

struct worker {
    uint64_t random;
    uint32_t next_owner;
    size_t held;
    int count;
    struct block blocks[BLOCKS];
};

static struct heap *heap;
static uint32_t *owners; /* of each grain */
static uintptr_t first;
static _Atomic(struct block *) passed[PASSED];
static long operations, threads, percent, forks;

static void fail(const char *what)
{
    printf("FAILED: %s\n", what);
    fflush(stdout);
    _Exit(1);
}

static uint64_t random_of(struct worker *worker)
{
    uint64_t x = worker->random;
    x ^= x << 13;
    x ^= x >> 7;
    return worker->random = x ^= x << 17;
}

static size_t random_size(struct worker *worker)
{
    size_t limit = (size_t)1 << (random_of(worker) % (LARGEST_LOG2 - 5) + 6);
    size_t nbytes = random_of(worker) % 4 == 0 ? limit : random_of(worker) % (limit + 1);
    return nbytes;
}

/* Content. */

static unsigned char byte_at(uint32_t owner, size_t at)
{
    return (unsigned char)(owner * 2654435761u >> 24 ^ at * 31);
}

static void each_byte(const struct block *block, size_t nbytes, void (*visit)(const struct block *, size_t at))
{
    for (size_t at = 0; at < nbytes; at++) {
        visit(block, at);
        if (nbytes > 2 * EDGE && at >= EDGE && at < nbytes - EDGE)
            at = at + 4096 < nbytes - EDGE ? at + 4095 : nbytes - EDGE - 1;
    }
}

static void write_byte(const struct block *block, size_t at)
{
    block->payload[at] = byte_at(block->owner, at);
}

static void check_byte(const struct block *block, size_t at)
{
    if (block->payload[at] != byte_at(block->owner, at))
        fail("a block's content changed");
}

static void check_zero(const struct block *block, size_t at)
{
    if (block->payload[at] != 0)
        fail("calloc's memory is not zero");
}

/* Ownership. */

/* Plain words: where the heap orders what two threads do with the same memory, ThreadSanitizer sees no race here. */
static void own(const struct block *block, uint32_t from, uint32_t to)
{
    size_t begin = ((uintptr_t)block->payload - first) / TLSF_GRAIN;
    size_t end = begin + (block->nbytes + TLSF_GRAIN - 1) / TLSF_GRAIN;
    for (size_t grain = begin; grain < end; grain++) {
        if (owners[grain] != from)
            fail("two blocks share memory");
        owners[grain] = to;
    }
}

static void settle(struct worker *worker, struct block *block)
{
    if ((uintptr_t)block->payload % TLSF_GRAIN != 0 || !heap_owns(heap, block->payload) ||
        (block->nbytes > 0 && !heap_owns(heap, block->payload + block->nbytes - 1)))
        fail("a block is not aligned, or not inside of the heap");
    own(block, 0, block->owner);
    each_byte(block, block->nbytes, write_byte);
    worker->held += block->nbytes;
}

static void unsettle(struct worker *worker, const struct block *block)
{
    each_byte(block, block->nbytes, check_byte);
    own(block, block->owner, 0);
    worker->held -= block->nbytes;
}

static void refused(void)
{
    struct heap_refusal refusal = heap_last_refusal(heap); /* perhaps another thread's: as good a one to look at */
    if (refusal.largest_free >= refusal.requested)
        fail("a refusal, though enough is free");
}

/* Operations. */

/* Now and then exactly as much as the heap says that it has in one piece. */
static size_t size_to_take(struct worker *worker)
{
    size_t largest = random_of(worker) % 64 == 0 ? heap_figures(heap, true).largest_free : 0;
    return largest > 0 && largest < (size_t)1 << LARGEST_LOG2 ? largest : random_size(worker);
}

static void take(struct worker *worker)
{
    struct block block = {NULL, size_to_take(worker), worker->next_owner};
    bool zeroed = random_of(worker) % 4 == 0;
    block.payload = zeroed ? heap_take_zeroed(heap, 1, block.nbytes) : heap_take(heap, block.nbytes);
    if (block.payload == NULL) {
        refused();
        return;
    }
    if (zeroed)
        each_byte(&block, block.nbytes, check_zero);
    worker->next_owner += (uint32_t)threads;
    settle(worker, &block);
    worker->blocks[worker->count++] = block;
}

static void give(struct worker *worker, int i)
{
    struct block block = worker->blocks[i];
    unsettle(worker, &block);
    heap_give(heap, block.payload);
    worker->blocks[i] = worker->blocks[--worker->count];
}

static void retake(struct worker *worker, int i)
{
    struct block *block = &worker->blocks[i], moved = *block;
    moved.nbytes = random_size(worker);
    unsettle(worker, block);
    moved.payload = heap_retake(heap, block->payload, moved.nbytes);
    if (moved.payload == NULL) {
        refused();
        settle(worker, block);
        return;
    }
    /* The bytes between the edges were not all written: look at what both sizes have. */
    struct block kept = moved;
    kept.nbytes = block->nbytes < moved.nbytes ? block->nbytes : moved.nbytes;
    each_byte(&kept, kept.nbytes < EDGE ? kept.nbytes : EDGE, check_byte);
    settle(worker, &moved);
    *block = moved;
}

/* Swap a block with whatever lies at one of the common places. */
static void pass_on(struct worker *worker, int i)
{
    struct block *parcel = malloc(sizeof *parcel);
    if (parcel == NULL)
        fail("no memory");
    *parcel = worker->blocks[i];
    worker->held -= parcel->nbytes;
    worker->blocks[i] = worker->blocks[--worker->count];
    parcel = atomic_exchange_explicit(&passed[random_of(worker) % PASSED], parcel, memory_order_acq_rel);
    if (parcel != NULL) {
        worker->held += parcel->nbytes;
        worker->blocks[worker->count++] = *parcel;
        free(parcel);
    }
}

static void check_heap(void)
{
    const char *wrong = heap_check(heap);
    if (wrong != NULL)
        fail(wrong);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    size_t most = HEAP_BYTES / 100 * (size_t)percent / (size_t)threads;
    for (long done = 0; done < operations / threads; done++) {
        uint64_t dice = random_of(worker) % 100;
        int any = worker->count > 0 ? (int)(random_of(worker) % (uint64_t)worker->count) : 0;
        bool full = worker->held + ((size_t)1 << LARGEST_LOG2) > most || worker->count >= BLOCKS / threads - 1;
        if (worker->count == 0 || (!full && dice < 50))
            take(worker);
        else if (dice < 75 || full)
            give(worker, any);
        else if (dice < 90)
            retake(worker, any);
        else
            pass_on(worker, any);
        if (done % 65536 == 0)
            check_heap();
    }
    while (worker->count > 0)
        give(worker, 0);
    return NULL;
}

static void give_what_was_passed(struct worker *worker)
{
    for (int i = 0; i < PASSED; i++) {
        struct block *parcel = atomic_exchange_explicit(&passed[i], NULL, memory_order_acq_rel);
        if (parcel == NULL)
            continue;
        worker->held += parcel->nbytes;
        worker->blocks[worker->count++] = *parcel;
        give(worker, 0);
        free(parcel);
    }
}

/* All that its threads have taken is in use in the child too, by nobody. */
static void use_in_child(void)
{
    alarm(20); /* a mutex that nobody gives back would be waited for without end */
    for (size_t nbytes = 1; nbytes < 100000; nbytes *= 3)
        heap_give(heap, heap_take(heap, nbytes));
    check_heap();
    _exit(0);
}

static void fork_children(void)
{
    for (long i = 0; i < forks; i++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            use_in_child();
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            fail("a forked child cannot use the heap");
    }
}

static void run_all(struct worker *workers)
{
    pthread_t ids[64];
    for (long i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, &workers[i]) != 0)
            fail("no thread");
    fork_children();
    for (long i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    give_what_was_passed(&workers[0]);
}

int main(int argc, char **argv)
{
    struct failure failure;
    operations = argc > 1 ? atol(argv[1]) : 1000000;
    threads = argc > 2 ? atol(argv[2]) : 1;
    percent = argc > 3 ? atol(argv[3]) : 100;
    uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
    forks = argc > 5 ? atol(argv[5]) : 0;
    if (registry_init() < 0 || heap_init() < 0)
        fail("no fork handlers");
    heap = heap_create(&(struct region_request){.nbytes = HEAP_BYTES, .unlocked = true}, false, &failure);
    struct worker *workers = calloc((size_t)threads, sizeof *workers);
    if (heap == NULL || workers == NULL || threads < 1 || threads > 64)
        fail("nothing to begin with");
    struct heap_figures fresh = heap_figures(heap, true);
    void *probe = heap_take(heap, fresh.largest_free); /* all of it, so that its address is the first */
    first = (uintptr_t)probe;
    heap_give(heap, probe);
    owners = calloc(fresh.capacity / TLSF_GRAIN + 1, sizeof *owners);
    for (long i = 0; i < threads; i++) {
        workers[i].random = seed * 0x9e3779b97f4a7c15u + (uint64_t)i + 1;
        workers[i].next_owner = (uint32_t)i + 1;
    }
    run_all(workers);
    check_heap();
    struct heap_figures end = heap_figures(heap, true);
    if (end.in_use != 0 || end.largest_free != fresh.largest_free)
        fail("something is left in use");
    printf("%ld operations, %ld threads, %zu blocks, %zu refused, peak %zu of %zu bytes\n", operations, threads,
           end.allocations, end.failures, end.peak, end.capacity);
    heap_release(heap);
    free(workers);
    free(owners);
    return 0;
}
