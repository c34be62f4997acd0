/* How long a thread of high priority waits for a heap that one of low priority is in, while one of middle priority
   would run for ever: prints ms. All on one CPU, under SCHED_FIFO; exits with 77 where that is not allowed. */
#include "heap.h" /* first: it asks for all of the C library */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define HEAP_BYTES ((size_t)64 << 20)
#define SPINS_MS 400.0 /* below what the kernel lets real-time threads have of each second */

static struct heap *heap;
static _Atomic bool in_heap, done;

static double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void *low(void *nothing)
{
    atomic_store(&in_heap, true);
    while (!atomic_load(&done))
        heap_check(heap); /* holds the mutex while it looks at a million blocks */
    return nothing;
}

static void *middle(void *nothing)
{
    for (double end = now_ms() + SPINS_MS; !atomic_load(&done) && now_ms() < end;)
        ;
    return nothing;
}

static pthread_t start(void *(*body)(void *), int priority, void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    pthread_attr_init(&attributes);
    pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
    pthread_attr_setschedparam(&attributes, &(struct sched_param){.sched_priority = priority});
    pthread_attr_setaffinity_np(&attributes, sizeof first, &first);
    if (pthread_create(&thread, &attributes, body, argument) != 0)
        exit(77);
    return thread;
}

static void *high(void *waited)
{
    pthread_t threads[2] = {start(low, 10, NULL)};
    while (!atomic_load(&in_heap))
        usleep(1000);
    usleep(5000);
    threads[1] = start(middle, 20, NULL);
    usleep(1000); /* it runs now, and the low one has stopped in the midst of it */
    double begin = now_ms();
    void *payload = heap_take(heap, (size_t)3 << 20);
    *(double *)waited = now_ms() - begin;
    atomic_store(&done, true);
    heap_give(heap, payload);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    return NULL;
}

int main(void)
{
    struct failure failure;
    double waited;
    heap = heap_create(&(struct region_request){.nbytes = HEAP_BYTES, .unlocked = true}, false, &failure);
    if (heap == NULL)
        return 1;
    while (heap_figures(heap, false).in_use < HEAP_BYTES - ((size_t)4 << 20))
        for (int i = 0; i < 1000; i++)
            heap_take(heap, 1);
    pthread_join(start(high, 30, &waited), NULL);
    printf("%.1f\n", waited);
    return 0;
}
