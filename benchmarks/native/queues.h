// The queues that ring_against.cpp compares, each with the same few functions. What is there is said by macros.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include <lockedarray/ring.h>
#ifdef WITH_RIGTORP
#include <SPSCQueue.h>
#endif
#ifdef WITH_BOOST
#include <boost/lockfree/spsc_queue.hpp>
#endif
#ifdef WITH_READERWRITERQUEUE
#include <readerwriterqueue/readerwriterqueue.h>
#endif
#ifdef WITH_JACK
#include <jack/ringbuffer.h>
#endif
#ifdef WITH_PORTAUDIO
extern "C" {
#include <pa_ringbuffer.h>
}
#endif

static const size_t BLOCK = 64;

// push and pop take one item, or say that they cannot; push_some and pop_some as many of a block as they can.

template <class T> struct Ours {
    static constexpr const char *name = "lockedarray";
    la_ring *ring;

    explicit Ours(size_t capacity)
    {
        size_t page = (size_t)sysconf(_SC_PAGESIZE), data = (capacity * sizeof(T) + page - 1) / page * page;
        int fd = memfd_create("ring", MFD_CLOEXEC);
        char *at = (char *)mmap(nullptr, 2 * (page + data), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (fd < 0 || ftruncate(fd, (off_t)(page + data)) < 0 || at == MAP_FAILED)
            abort();
        mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        mmap(at + page, page + data, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0);
        mmap(at + 2 * page + data, data, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, (off_t)page);
        close(fd);
        ring = la_ring_at((uintptr_t)at);
        ring->shared = (la_ring_shared *)(at + page);
        ring->data = at + 2 * page;
        ring->capacity = capacity;
        ring->frame_bytes = ring->item_bytes = sizeof(T);
        ring->channels = 1;
        ring->data_bytes = data;
        ring->id = 1;
        ring->fd = ring->writer.event = ring->reader.event = -1;
        ring->shared->attached = 1;
    }
    ~Ours() { munmap(ring, 2 * ((char *)ring->shared - (char *)ring + ring->data_bytes)); }
    bool push(const T &item)
    {
        void *at;
        if (la_ring_write_window(ring, 1, &at) < 1)
            return false;
        *(T *)at = item;
        la_ring_commit(ring, 1);
        return true;
    }
    bool pop(T &item)
    {
        const void *at;
        if (la_ring_read_window(ring, 1, &at) < 1)
            return false;
        item = *(const T *)at;
        la_ring_consume(ring, 1);
        return true;
    }
    size_t push_some(const T *items, size_t count) { return (size_t)la_ring_write(ring, items, count); }
    size_t pop_some(T *items, size_t count) { return (size_t)la_ring_read(ring, items, count); }
};

#ifdef WITH_RIGTORP
template <class T> struct Rigtorp {
    static constexpr const char *name = "rigtorp";
    rigtorp::SPSCQueue<T> queue;
    explicit Rigtorp(size_t capacity) : queue(capacity) {}
    bool push(const T &item) { return queue.try_push(item); }
    bool pop(T &item)
    {
        T *front = queue.front();
        if (front == nullptr)
            return false;
        item = *front;
        queue.pop();
        return true;
    }
    size_t push_some(const T *items, size_t) { return push(*items); }
    size_t pop_some(T *items, size_t) { return pop(*items); }
};
#endif

#ifdef WITH_BOOST
template <class T> struct Boost {
    static constexpr const char *name = "boost";
    boost::lockfree::spsc_queue<T> queue;
    explicit Boost(size_t capacity) : queue(capacity) {}
    bool push(const T &item) { return queue.push(item); }
    bool pop(T &item) { return queue.pop(item); }
    size_t push_some(const T *items, size_t count) { return queue.push(items, count); }
    size_t pop_some(T *items, size_t count) { return queue.pop(items, count); }
};
#endif

#ifdef WITH_READERWRITERQUEUE
template <class T> struct ReaderWriter {
    static constexpr const char *name = "readerwriterqueue";
    moodycamel::ReaderWriterQueue<T> queue;
    explicit ReaderWriter(size_t capacity) : queue(capacity) {}
    bool push(const T &item) { return queue.try_enqueue(item); }
    bool pop(T &item) { return queue.try_dequeue(item); }
    size_t push_some(const T *items, size_t) { return push(*items); }
    size_t pop_some(T *items, size_t) { return pop(*items); }
};
#endif

#ifdef WITH_JACK
template <class T> struct Jack {
    static constexpr const char *name = "JACK";
    jack_ringbuffer_t *ring;
    explicit Jack(size_t capacity) : ring(jack_ringbuffer_create(capacity * sizeof(T) + 1)) {}
    ~Jack() { jack_ringbuffer_free(ring); }
    size_t push_some(const T *items, size_t count)
    {
        size_t room = jack_ringbuffer_write_space(ring) / sizeof(T);
        return jack_ringbuffer_write(ring, (const char *)items, (count < room ? count : room) * sizeof(T)) / sizeof(T);
    }
    size_t pop_some(T *items, size_t count)
    {
        size_t held = jack_ringbuffer_read_space(ring) / sizeof(T);
        return jack_ringbuffer_read(ring, (char *)items, (count < held ? count : held) * sizeof(T)) / sizeof(T);
    }
    bool push(const T &item) { return push_some(&item, 1) == 1; }
    bool pop(T &item) { return pop_some(&item, 1) == 1; }
};
#endif

#ifdef WITH_PORTAUDIO
template <class T> struct PortAudio {
    static constexpr const char *name = "PortAudio";
    std::vector<T> memory;
    PaUtilRingBuffer ring;
    explicit PortAudio(size_t capacity) : memory(capacity)
    {
        if (PaUtil_InitializeRingBuffer(&ring, sizeof(T), (ring_buffer_size_t)capacity, memory.data()) != 0)
            abort();
    }
    size_t push_some(const T *items, size_t count)
    {
        return (size_t)PaUtil_WriteRingBuffer(&ring, items, (ring_buffer_size_t)count);
    }
    size_t pop_some(T *items, size_t count)
    {
        return (size_t)PaUtil_ReadRingBuffer(&ring, items, (ring_buffer_size_t)count);
    }
    bool push(const T &item) { return push_some(&item, 1) == 1; }
    bool pop(T &item) { return pop_some(&item, 1) == 1; }
};
#endif

// Blocks. make writes `count` items that begin with `first`; take hands some to `use`, and says how many.

template <template <class> class Q> struct Blocks : Q<uint64_t> {
    using Q<uint64_t>::Q;
    void make(size_t count, uint64_t first)
    {
        uint64_t block[BLOCK];
        for (size_t k = 0; k < count; k++)
            block[k] = first + k;
        for (size_t done = 0; done < count;)
            done += this->push_some(block + done, count - done);
    }
    template <class F> size_t take(size_t count, F use)
    {
        uint64_t block[BLOCK];
        size_t got = this->pop_some(block, count);
        for (size_t k = 0; k < got; k++)
            use(block[k]);
        return got;
    }
};

// In the ring's own memory.
struct Windows : Ours<uint64_t> {
    static constexpr const char *name = "lockedarray, windows";
    using Ours::Ours;
    void make(size_t count, uint64_t first)
    {
        while (count > 0) {
            void *at;
            int64_t got = la_ring_write_window(ring, count, &at);
            for (int64_t k = 0; k < got; k++)
                ((uint64_t *)at)[k] = first + (uint64_t)k;
            if (got > 0) {
                la_ring_commit(ring, (uint64_t)got);
                count -= (size_t)got;
                first += (uint64_t)got;
            }
        }
    }
    template <class F> size_t take(size_t count, F use)
    {
        const void *at;
        int64_t got = la_ring_read_window(ring, count, &at);
        for (int64_t k = 0; k < got; k++)
            use(((const uint64_t *)at)[k]);
        if (got > 0)
            la_ring_consume(ring, (uint64_t)got);
        return got > 0 ? (size_t)got : 0;
    }
};

#ifdef WITH_BOOST
struct BoostConsuming : Blocks<Boost> {
    static constexpr const char *name = "boost, consume_all";
    using Blocks<Boost>::Blocks;
    template <class F> size_t take(size_t, F use) { return queue.consume_all(use); }
};
#endif
