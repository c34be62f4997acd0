/* The heap's allocator by itself: what, size, ns of half the calls, ns of all but one in 10,000, refusals; a line each.

   A pair is one take and one give. Half of them take no longer than the first figure, from batches, since the clock
   alone takes longer than a call; the second holds the clock too. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "heap.h"
#include "tlsf.h"

#define HEAP_BYTES ((size_t)64 << 20)
#define BATCH 100
#define BLOCKS (1 << 20)

static struct tlsf tlsf;
static struct heap *heap;
static pthread_mutex_t mutex;
static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t random_number(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return difference < 0 ? -1 : difference > 0;
}

static double quantile(double *values, long count, double q)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[(long)((double)(count - 1) * q)];
}

/* Pairs of the same size, in three ways. */

static void alone(size_t nbytes)
{
    tlsf_give(&tlsf, tlsf_take(&tlsf, tlsf_block_size(nbytes)));
}

static void behind_mutex(size_t nbytes)
{
    pthread_mutex_lock(&mutex);
    void *payload = tlsf_take(&tlsf, tlsf_block_size(nbytes));
    pthread_mutex_unlock(&mutex);
    pthread_mutex_lock(&mutex);
    tlsf_give(&tlsf, payload);
    pthread_mutex_unlock(&mutex);
}

static void as_built(size_t nbytes)
{
    heap_give(heap, heap_take(heap, nbytes));
}

static void pairs(const char *what, void (*pair)(size_t), size_t nbytes, long count)
{
    double *batches = malloc((size_t)(count / BATCH) * sizeof *batches);
    double *singles = malloc((size_t)count * sizeof *singles);
    if (batches == NULL || singles == NULL)
        exit(1);
    for (long i = 0; i < count / BATCH; i++) {
        double begin = now();
        for (int k = 0; k < BATCH; k++)
            pair(nbytes);
        batches[i] = (now() - begin) / BATCH;
    }
    for (long i = 0; i < count; i++) {
        double begin = now();
        pair(nbytes);
        singles[i] = now() - begin;
    }
    printf("%s\t%zu\t%.1f\t%.0f\t0\n", what, nbytes, quantile(batches, count / BATCH, 0.5),
           quantile(singles, count, 0.9999));
    free(batches);
    free(singles);
}

/* Blocks of 64 bytes to 1 MiB, each size as likely as its double, taken and given back at random: as long as a request
   fits into `most` bytes it is taken, and else another block given back. */
static void mix(long operations, size_t most)
{
    static struct {
        void *payload;
        size_t nbytes;
    } blocks[BLOCKS];
    double *times = malloc((size_t)operations * sizeof *times);
    size_t held = 0, count = 0;
    long refused = 0;
    if (times == NULL)
        exit(1);
    for (long i = 0; i < operations; i++) {
        size_t octave = (size_t)64 << random_number() % 14;
        size_t nbytes = octave + random_number() % (octave + 1);
        bool fits = held + nbytes <= most && count < BLOCKS;
        size_t any = fits ? 0 : random_number() % count;
        void *payload = NULL;
        double begin = now();
        if (fits)
            payload = heap_take(heap, nbytes);
        else
            heap_give(heap, blocks[any].payload);
        times[i] = now() - begin;
        if (!fits) {
            held -= blocks[any].nbytes;
            blocks[any] = blocks[--count];
        } else if (payload == NULL) {
            refused++;
        } else {
            blocks[count].payload = payload;
            blocks[count++].nbytes = nbytes;
            held += nbytes;
        }
    }
    printf("one call of a random mix\t%zu\t%.1f\t%.0f\t%ld\n", most, quantile(times, operations, 0.5),
           quantile(times, operations, 0.9999), refused);
    while (count > 0)
        heap_give(heap, blocks[--count].payload);
    free(times);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {64, 1024, 4096, 65536, 1 << 20};
    long count = argc > 1 ? atol(argv[1]) : 1000000;
    if (argc > 2)
        state *= strtoull(argv[2], NULL, 10) * 2 + 1;
    struct failure failure;
    pthread_mutexattr_t inherits;
    void *memory = aligned_alloc(TLSF_GRAIN, tlsf_memory(HEAP_BYTES));
    heap = heap_create(&(struct region_request){.nbytes = HEAP_BYTES, .unlocked = true}, false, &failure);
    if (memory == NULL || heap == NULL || pthread_mutexattr_init(&inherits) != 0 ||
        pthread_mutexattr_setprotocol(&inherits, PTHREAD_PRIO_INHERIT) != 0 || pthread_mutex_init(&mutex, &inherits) != 0)
        return 1;
    tlsf_init(&tlsf, memory, HEAP_BYTES);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pairs("TLSF alone", alone, sizes[i], count);
        pairs("TLSF behind the mutex", behind_mutex, sizes[i], count);
        pairs("the heap", as_built, sizes[i], count);
    }
    mix(count < 400000 ? count : 400000, HEAP_BYTES / 4 * 3);
    return heap_check(heap) != NULL;
}
