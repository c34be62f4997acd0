// The ring in C against others, two threads on two CPUs: throughput, one-way latency, and whole blocks.
// Each queue is compiled in where its macro is defined; ring_c.py does that, and reads what is printed:
//   <what> <queue> <bytes> <ns>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>

#include "queues.h"

template <size_t BYTES> struct Item {
    uint64_t word[BYTES / 8];
};

static double now()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static cpu_set_t allowed; // before anything was pinned

static void pin(int which)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && which-- == 0)
            CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

// What is measured. Item i holds i.

static uint64_t checksum(size_t count)
{
    return (uint64_t)count * (count - 1) / 2;
}

static void check(bool right, const char *name)
{
    if (!right) {
        std::fprintf(stderr, "%s: wrong checksum\n", name);
        std::exit(1);
    }
}

// Run both at once, each on a CPU of its own; the ns that it took.
template <class P, class C> static double race(P produce, C consume)
{
    std::atomic<int> ready{0};
    double begin = 0;
    std::thread other([&] {
        pin(1);
        ready = 1;
        while (ready != 2)
            ;
        consume();
    });
    pin(0);
    while (ready != 1)
        ;
    begin = now();
    ready = 2;
    produce();
    other.join();
    return now() - begin;
}

// A queue on lines of its own: nothing that a thread writes besides may share a line with what the other reads. A sum
// on the stack beside the queue's pointer made 130 ns of 4.
template <class Q> struct alignas(256) Apart {
    Q queue;
    char after[256] = {};
    explicit Apart(size_t capacity) : queue(capacity) {}
};

template <class Q> static std::unique_ptr<Apart<Q>> apart(size_t capacity)
{
    return std::make_unique<Apart<Q>>(capacity);
}

template <size_t BYTES> constexpr size_t CAPACITY = BYTES > 1024 ? 256 : 1024;

template <template <class> class Q, size_t BYTES> static void throughput(size_t count)
{
    using T = Item<BYTES>;
    auto held = apart<Q<T>>(CAPACITY<BYTES>);
    Q<T> &queue = held->queue;
    uint64_t sum = 0;
    double ns = race(
        [&queue, count] {
            T item = {};
            for (size_t i = 0; i < count; i++) {
                item.word[0] = i;
                while (!queue.push(item))
                    ;
            }
        },
        [&queue, &sum, count] {
            T item;
            uint64_t mine = 0;
            for (size_t i = 0; i < count; i++) {
                while (!queue.pop(item))
                    ;
                mine += item.word[0];
            }
            sum = mine;
        });
    check(sum == checksum(count), Q<T>::name);
    std::printf("throughput\t%s\t%zu\t%.3f\n", Q<T>::name, BYTES, ns / (double)count);
}

template <template <class> class Q, size_t BYTES> static void latency(size_t count)
{
    using T = Item<BYTES>;
    auto one = apart<Q<T>>(CAPACITY<BYTES>), other = apart<Q<T>>(CAPACITY<BYTES>);
    Q<T> &there = one->queue, &back = other->queue;
    uint64_t sum = 0;
    double ns = race(
        [&there, &back, &sum, count] {
            T item = {};
            uint64_t mine = 0;
            for (size_t i = 0; i < count; i++) {
                item.word[0] = i;
                while (!there.push(item))
                    ;
                while (!back.pop(item))
                    ;
                mine += item.word[0];
            }
            sum = mine;
        },
        [&there, &back, count] {
            T item;
            for (size_t i = 0; i < count; i++) {
                while (!there.pop(item))
                    ;
                while (!back.push(item))
                    ;
            }
        });
    check(sum == checksum(count), Q<T>::name);
    std::printf("latency\t%s\t%zu\t%.3f\n", Q<T>::name, BYTES, ns / (double)count / 2);
}

// One thread: two items in, and one by one out again. What a queue does for two CPUs must not cost much here.
template <template <class> class Q> static void turns(size_t count)
{
    auto held = apart<Q<Item<8>>>(1024);
    uint64_t sum = 0;
    Item<8> item = {};
    double begin = now();
    for (size_t i = 0; i < count; i++) {
        item.word[0] = i;
        while (!held->queue.push(item))
            ;
        if (i % 2 == 0)
            continue;
        for (int k = 0; k < 2; k++) {
            while (!held->queue.pop(item))
                ;
            sum += item.word[0];
        }
    }
    double ns = now() - begin;
    check(sum == checksum(count), Q<Item<8>>::name);
    std::printf("turns on one thread\t%s\t8\t%.3f\n", Q<Item<8>>::name, ns / (double)count);
}

// Blocks of 64 items of 8 bytes: each item written by the one side, and read by the other. What is written costs next to
// nothing, so that it is the queue that is measured.
template <class Q> static void bulk(size_t count, size_t capacity)
{
    auto held = apart<Q>(capacity);
    Q &queue = held->queue;
    uint64_t sum = 0;
    double ns = race(
        [&queue, count] {
            for (size_t i = 0; i < count; i += BLOCK)
                queue.make(BLOCK, i);
        },
        [&queue, &sum, count] {
            uint64_t mine = 0;
            for (size_t taken = 0; taken < count;)
                taken += queue.take(BLOCK, [&mine](uint64_t item) { mine += item; });
            sum = mine;
        });
    check(sum == checksum(count), Q::name);
    std::printf("bulk through %zu KiB\t%s\t8\t%.3f\n", capacity / 128, Q::name, ns / (double)count);
}

// A measure of each queue right after the other, so that the machine's moods hit all alike.
template <template <class> class... Q> static void all(size_t count)
{
    (throughput<Q, 8>(count), ...);
    (throughput<Q, 512>(count / 4), ...);
    (throughput<Q, 4096>(count / 16), ...);
    (latency<Q, 8>(count / 4), ...);
    (latency<Q, 512>(count / 8), ...);
    (latency<Q, 4096>(count / 16), ...);
    (turns<Q>(count), ...);
    for (size_t capacity : {8192, 65536}) {
        bulk<Windows>(16 * count, capacity);
#ifdef WITH_BOOST
        bulk<BoostConsuming>(16 * count, capacity);
#endif
        (bulk<Blocks<Q>>(16 * count, capacity), ...);
    }
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1000000;
    int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
    count = (count + BLOCK - 1) / BLOCK * BLOCK;
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0 || CPU_COUNT(&allowed) < 2) {
        std::fprintf(stderr, "two threads at once need two CPUs\n");
        return 2;
    }
    for (int round = 0; round < rounds; round++) {
        all<Ours
#ifdef WITH_RIGTORP
            ,
            Rigtorp
#endif
#ifdef WITH_BOOST
            ,
            Boost
#endif
#ifdef WITH_READERWRITERQUEUE
            ,
            ReaderWriter
#endif
#ifdef WITH_JACK
            ,
            Jack
#endif
#ifdef WITH_PORTAUDIO
            ,
            PortAudio
#endif
            >(count);
        std::fflush(stdout);
    }
}
