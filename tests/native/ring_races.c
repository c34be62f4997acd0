/* What each acquire and release of ring.h publishes, as plain words that ThreadSanitizer sees unordered without it.

       cc -O1 -g -fsanitize=thread -Wno-tsan -pthread -I ../../lockedarray/include ring_races.c -o ring_races && ./ring_races

   The memory is not mirrored: the sanitizer would take the two halves for different words; so blocks end where the ring
   does. Whose turn it is, is said by a relaxed word, which orders nothing: only the ring does. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring_memory.h"

enum { BLOCK = 16, BLOCKS = 4, CAPACITY = BLOCK * BLOCKS, ROUNDS = 2000 };

struct stage {
    struct la_ring_shared shared;
    uint64_t data[CAPACITY];
    struct la_ring ring, successor; /* the same ring as a second process has it */
    uint64_t first, last;           /* plain words, beside the ring */
    int turn;
};

static void wait_for_turn(struct stage *stage, int turn)
{
    while (__atomic_load_n(&stage->turn, __ATOMIC_RELAXED) != turn)
        sched_yield();
}

static void pass_on(struct stage *stage)
{
    __atomic_fetch_add(&stage->turn, 1, __ATOMIC_RELAXED);
}

static void expect(int held, const char *what)
{
    if (!held) {
        printf("FAILED: %s\n", what);
        exit(1);
    }
}

static int write_block(struct la_ring *ring, uint64_t value)
{
    void *at;
    if (la_ring_write_window(ring, BLOCK, &at) < BLOCK)
        return 0;
    for (int k = 0; k < BLOCK; k++)
        ((uint64_t *)at)[k] = value;
    la_ring_commit(ring, BLOCK);
    return 1;
}

static int read_block(struct la_ring *ring, uint64_t value)
{
    const void *at;
    if (la_ring_read_window(ring, BLOCK, &at) < BLOCK)
        return 0;
    for (int k = 0; k < BLOCK; k++)
        expect(((const uint64_t *)at)[k] == value, "a block");
    la_ring_consume(ring, BLOCK);
    return 1;
}

/* Blocks, and the word that the close publishes. */

static void *exchange_writer(void *argument)
{
    struct stage *stage = (struct stage *)argument;
    for (uint64_t k = 0; k < ROUNDS; k++)
        while (!write_block(&stage->ring, k))
            la_ring_wait_write(&stage->ring, BLOCK, LA_RING_FOREVER);
    stage->last = ROUNDS;
    la_ring_close(&stage->ring);
    return NULL;
}

static void *exchange_reader(void *argument)
{
    struct stage *stage = (struct stage *)argument;
    for (uint64_t k = 0; k < ROUNDS; k++)
        while (!read_block(&stage->ring, k))
            la_ring_wait_read(&stage->ring, BLOCK, LA_RING_FOREVER);
    while (!la_ring_is_closed(&stage->ring))
        sched_yield();
    expect(stage->last == ROUNDS, "what was stored before the close");
    return NULL;
}

/* A third that counts what the ring holds: a block there, `first` is stored; none any more, `last` is. */

static void *watched_writer(void *argument)
{
    struct stage *stage = (struct stage *)argument;
    stage->first = 1;
    write_block(&stage->ring, 1);
    return NULL;
}

static void *watched_reader(void *argument)
{
    struct stage *stage = (struct stage *)argument;
    wait_for_turn(stage, 1);
    stage->last = 2;
    while (!read_block(&stage->ring, 1))
        sched_yield();
    return NULL;
}

static void *watcher(void *argument)
{
    struct stage *stage = (struct stage *)argument;
    while (la_ring_held(&stage->ring) == 0)
        sched_yield();
    expect(stage->first == 1, "what was stored before the block");
    pass_on(stage);
    while (la_ring_held(&stage->ring) != 0)
        sched_yield();
    expect(stage->last == 2, "what was stored before the block was given back");
    return NULL;
}

/* A side that goes on where another stopped hands on the other's blocks, too. */

static void *first_writer(void *argument)
{
    struct stage *stage = (struct stage *)argument;
    write_block(&stage->ring, 0);
    pass_on(stage);
    return NULL;
}

static void *second_writer(void *argument)
{
    struct stage *stage = (struct stage *)argument;
    wait_for_turn(stage, 1);
    for (uint64_t k = 1; k < BLOCKS; k++)
        write_block(&stage->successor, k);
    pass_on(stage);
    wait_for_turn(stage, 4);
    expect(write_block(&stage->successor, BLOCKS), "room where the first reader was");
    return NULL;
}

static void *first_reader(void *argument)
{
    struct stage *stage = (struct stage *)argument;
    wait_for_turn(stage, 2);
    expect(read_block(&stage->ring, 0), "the first writer's block");
    pass_on(stage);
    return NULL;
}

static void *second_reader(void *argument)
{
    struct stage *stage = (struct stage *)argument;
    wait_for_turn(stage, 3);
    expect(read_block(&stage->successor, 1), "the second writer's block");
    pass_on(stage);
    return NULL;
}

static void play(void *(*const *roles)(void *), int count)
{
    struct stage *stage = (struct stage *)aligned_alloc(_Alignof(struct stage), sizeof *stage);
    expect(stage != NULL, "memory");
    memset(stage, 0, sizeof *stage);
    stage->ring = ring_over(&stage->shared, stage->data, CAPACITY, 1, sizeof *stage->data);
    stage->successor = ring_over(&stage->shared, stage->data, CAPACITY, 1, sizeof *stage->data);
    pthread_t threads[4];
    for (int k = 0; k < count; k++)
        expect(pthread_create(&threads[k], NULL, roles[k], stage) == 0, "a thread");
    for (int k = 0; k < count; k++)
        pthread_join(threads[k], NULL);
    free(stage);
}

int main(void)
{
    play((void *(*const[])(void *)){exchange_writer, exchange_reader}, 2);
    play((void *(*const[])(void *)){watched_writer, watched_reader, watcher}, 3);
    play((void *(*const[])(void *)){first_writer, second_writer, first_reader, second_reader}, 4);
    puts("no race");
    return 0;
}
