/* An audio driver in small: a thread of C that is due every `frames` at `rate`, plays what one ring has and records it
   into another. It never waits for Python, and takes no lock. c_callback.py compiles and starts it. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <lockedarray/ring.h>

enum { CHANNELS = 2, LONGEST = 4096 };

struct report {
    int64_t periods, underruns, overruns, worst_ns;
};

struct driver {
    struct la_ring *playback, *capture;
    int64_t frames, period_ns;
    int stop;
    pthread_t thread;
    struct report report;
    float block[LONGEST * CHANNELS];
};

/* What a host calls for each period. */
static void callback(struct driver *driver)
{
    uint64_t frames = (uint64_t)driver->frames;
    int64_t got = la_ring_read(driver->playback, driver->block, frames);
    got = got < 0 ? 0 : got;
    if (got < driver->frames) { /* silence, and Python learns of it */
        memset(driver->block + got * CHANNELS, 0, (size_t)(driver->frames - got) * CHANNELS * sizeof(float));
        la_ring_miss(driver->playback, (uint64_t)(driver->frames - got));
        driver->report.underruns++;
    }
    int64_t taken = la_ring_write(driver->capture, driver->block, frames);
    if (taken >= 0 && taken < driver->frames) {
        la_ring_lose(driver->capture, (uint64_t)(driver->frames - taken));
        driver->report.overruns++;
    }
}

static void sleep_until(int64_t moment)
{
    struct timespec at = {.tv_sec = moment / 1000000000, .tv_nsec = moment % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

static void *run(void *argument)
{
    struct driver *driver = argument;
    int64_t due = la_ring_now();
    while (!__atomic_load_n(&driver->stop, __ATOMIC_RELAXED)) {
        due += driver->period_ns;
        sleep_until(due);
        int64_t begin = la_ring_now();
        callback(driver);
        int64_t took = la_ring_now() - begin;
        driver->report.worst_ns = took > driver->report.worst_ns ? took : driver->report.worst_ns;
        driver->report.periods++;
    }
    la_ring_close(driver->capture);
    return NULL;
}

/* From RingBuffer.address; NULL if it cannot be. The rings must outlive the driver. */
struct driver *driver_start(uintptr_t playback, uintptr_t capture, int64_t frames, int64_t rate)
{
    if (frames < 1 || frames > LONGEST || rate < 1)
        return NULL;
    struct driver *driver = calloc(1, sizeof *driver);
    if (driver == NULL)
        return NULL;
    driver->playback = la_ring_at(playback);
    driver->capture = la_ring_at(capture);
    driver->frames = frames;
    driver->period_ns = frames * 1000000000 / rate;
    memset(driver->block, 0, sizeof driver->block); /* present before it is due */
    if (pthread_create(&driver->thread, NULL, run, driver) == 0)
        return driver;
    free(driver);
    return NULL;
}

void driver_stop(struct driver *driver, struct report *report)
{
    __atomic_store_n(&driver->stop, 1, __ATOMIC_RELAXED); /* publishes nothing; the join does */
    pthread_join(driver->thread, NULL);
    *report = driver->report;
    free(driver);
}
