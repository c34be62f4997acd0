/* Order and content: two threads and a ring, blocks of random sizes through every way in and out, each item looked at.

       cc -O2 -pthread -I ../../lockedarray/include ring_threads.c -o ring_threads && ./ring_threads 1000000000 [SEED]

   Items are 8 bytes, two a frame, and count up: a lost, repeated, torn or misplaced one is a wrong number. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "ring_memory.h"

#ifndef TOO_MANY
#define TOO_MANY 0 /* frames that the ring is told to hold beyond its memory: what is lost by that must be noticed */
#endif

enum { CHANNELS = 2, CAPACITY = 4096, LONGEST = CAPACITY / 2 };

/* Three times out of four by windows, since the other ways copy once more. */
enum way { WINDOW, BLOCK = 6, PLANAR = 7 };

static uint64_t frames_to_send, seed;
static struct la_ring ring;

static void stop(const char *what, uint64_t frame)
{
    printf("FAILED: %s at frame %llu, seed %llu\n", what, (unsigned long long)frame, (unsigned long long)seed);
    exit(1);
}

static uint64_t random_number(uint64_t *state) /* xorshift64* */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Now and then a side stays away long enough for the other to fall asleep. */
static void rest(uint64_t number)
{
    if ((number >> 40) % 8192 == 0)
        usleep(100);
}

static enum way way_of(uint64_t number)
{
    enum way way = (enum way)(number >> 32 & 7);
    return way < BLOCK ? WINDOW : way;
}

static void count_up(uint64_t *items, uint64_t from, uint64_t count, uint64_t step)
{
    for (uint64_t k = 0; k < count; k++)
        items[k] = from + k * step;
}

static void check(const uint64_t *items, uint64_t from, uint64_t count, uint64_t step)
{
    uint64_t wrong = 0;
    for (uint64_t k = 0; k < count; k++)
        wrong |= items[k] ^ (from + k * step);
    if (wrong != 0)
        stop("another item than was sent", from / CHANNELS);
}

static int64_t send_some(uint64_t sent, uint64_t frames, enum way way)
{
    static uint64_t block[LONGEST * CHANNELS];
    const void *const channels[CHANNELS] = {block, block + LONGEST};
    if (way == WINDOW) {
        void *at;
        int64_t taken = la_ring_write_window(&ring, frames, &at);
        if (taken > 0) {
            count_up((uint64_t *)at, sent * CHANNELS, (uint64_t)taken * CHANNELS, 1);
            la_ring_commit(&ring, (uint64_t)taken);
        }
        return taken;
    }
    if (way == BLOCK) {
        count_up(block, sent * CHANNELS, frames * CHANNELS, 1);
        return la_ring_write(&ring, block, frames);
    }
    for (uint64_t c = 0; c < CHANNELS; c++)
        count_up(block + c * LONGEST, sent * CHANNELS + c, frames, CHANNELS);
    return la_ring_write_planar(&ring, channels, frames);
}

static int64_t receive_some(uint64_t received, uint64_t frames, enum way way)
{
    static uint64_t block[LONGEST * CHANNELS];
    void *const channels[CHANNELS] = {block, block + LONGEST};
    int64_t taken;
    if (way == WINDOW) {
        const void *at;
        taken = la_ring_read_window(&ring, frames, &at);
        if (taken > 0) {
            check((const uint64_t *)at, received * CHANNELS, (uint64_t)taken * CHANNELS, 1);
            la_ring_consume(&ring, (uint64_t)taken);
        }
    } else if (way == BLOCK) {
        taken = la_ring_read(&ring, block, frames);
        if (taken > 0)
            check(block, received * CHANNELS, (uint64_t)taken * CHANNELS, 1);
    } else {
        taken = la_ring_read_planar(&ring, channels, frames);
        for (uint64_t c = 0; taken > 0 && c < CHANNELS; c++)
            check(block + c * LONGEST, received * CHANNELS + c, (uint64_t)taken, CHANNELS);
    }
    return taken;
}

static void *writer(void *none)
{
    uint64_t state = seed, sent = 0;
    while (sent < frames_to_send) {
        uint64_t number = random_number(&state), frames = 1 + (number & 0xffff) % LONGEST;
        frames = frames < frames_to_send - sent ? frames : frames_to_send - sent;
        rest(number);
        /* Every other block is waited for as a whole; of the rest goes what fits. */
        if ((number >> 35 & 1) && la_ring_wait_write(&ring, frames, LA_RING_FOREVER) != LA_RING_READY)
            stop("a wait to write ended", sent);
        int64_t taken = send_some(sent, frames, way_of(number));
        if (taken < 0)
            stop("a write was refused", sent);
        if (taken == 0)
            sched_yield();
        sent += (uint64_t)taken;
    }
    la_ring_close(&ring);
    return none;
}

static void *reader(void *none)
{
    uint64_t state = ~seed, received = 0;
    int ended = 0;
    for (;;) {
        uint64_t number = random_number(&state), frames = 1 + (number & 0xffff) % LONGEST;
        rest(number);
        if (!ended && (number >> 35 & 1))
            ended = la_ring_wait_read(&ring, frames, LA_RING_FOREVER) == LA_RING_NEVER;
        int64_t taken = receive_some(received, frames, way_of(number));
        if (taken < 0)
            stop("a read was refused", received);
        if (taken == 0 && ended)
            break;
        if (taken == 0)
            sched_yield();
        received += (uint64_t)taken;
    }
    if (received != frames_to_send)
        stop("the end", received);
    return none;
}

/* The same pages twice in a row. */
static void *mirrored(size_t bytes)
{
    int fd = memfd_create("ring", MFD_CLOEXEC);
    char *at = (char *)mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || at == MAP_FAILED)
        return NULL;
    for (int half = 0; half < 2; half++)
        if (mmap(at + (size_t)half * bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
            return NULL;
    close(fd);
    return at;
}

int main(int argc, char **argv)
{
    static struct la_ring_shared shared;
    frames_to_send = (argc > 1 ? strtoull(argv[1], NULL, 0) : 1000000) / CHANNELS;
    seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)la_ring_now();
    seed += seed == 0 || ~seed == 0; /* no state of the generator */
    void *data = mirrored(CAPACITY * CHANNELS * sizeof(uint64_t));
    if (data == NULL) {
        perror("mirrored memory");
        return 2;
    }
    ring = ring_over(&shared, data, CAPACITY, CHANNELS, sizeof(uint64_t));
    ring.capacity += TOO_MANY;
    int64_t began = la_ring_now();
    pthread_t threads[2];
    if (pthread_create(&threads[0], NULL, writer, NULL) || pthread_create(&threads[1], NULL, reader, NULL))
        return 2;
    for (int k = 0; k < 2; k++)
        pthread_join(threads[k], NULL);
    printf("%llu items in order, whole, in %.2f s; seed %llu; the writer slept: %s, the reader: %s\n",
           (unsigned long long)frames_to_send * CHANNELS, (double)(la_ring_now() - began) / 1e9,
           (unsigned long long)seed, shared.writer_waits ? "yes" : "no", shared.reader_waits ? "yes" : "no");
    return 0;
}
