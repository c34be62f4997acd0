#include "lock_all.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "registry.h"

#include "cdef.h"

/* Of who has not entered, or has left. */
#define NO_TURN (-1)

/* Pages looked at in one go, for a fork's repair. */
#define LOOK 1024

/* It is held over mlockall, which may take long: no finalizer takes it. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    size_t levels;         /* who has entered and not left */
    int64_t turn;          /* counts from one time that nothing is locked to the next */
    bool current, future;  /* what any of them wanted, */
    bool on_fault;         /* and all of them */
    uint32_t epoch;        /* the process in which it is in force */
} all;
/* What fork asks in a thread that may not wait for the mutex. Relaxed: it publishes nothing. */
static _Atomic bool in_force;

static bool is_in_force(void)
{
    return all.levels > 0 && all.epoch == registry_epoch();
}

/* mlock sets a mark on its pages and then brings them in, in two steps: a mark "on fault" set in between would leave
   them absent, and mlock would not say so. */
static int lock_on_fault(bool current, bool future)
{
    registry_close_gate();
    int error = os_lock_all(current, future, true);
    registry_open_gate();
    return error;
}

/* Unlock whatever no hold covers. A hold that comes or goes meanwhile sees to its own pages. */
static int unlock_the_rest(void)
{
    struct os_maps maps;
    struct os_mapping mapping;
    int error = os_open_maps(&maps);
    if (error < 0)
        return error;
    while ((error = os_next_mapping(&maps, &mapping)) > 0) {
        uintptr_t at = mapping.start;
        error = registry_unlock_uncovered(&at, mapping.end);
        if (error < 0)
            break;
    }
    os_close_maps(&maps);
    return error;
}

/* The way out where the kernel refuses the other: for a moment nothing is locked. */
static void unlock_all_and_recover(struct refused_relock *refused)
{
    registry_close_gate();
    os_unlock_all();
    registry_recover(refused);
    registry_open_gate();
}

/* munlockall would unlock live pages too. Locking what is there on fault unlocks nothing, and ends the future; then the
   rest is unlocked one by one. Without a future the first step is left out: it would need a limit above all that is
   mapped. */
static void undo(struct refused_relock *refused)
{
    atomic_store_explicit(&in_force, false, memory_order_relaxed);
    registry_lock_everything(false);
    int error = all.future ? lock_on_fault(true, false) : 0;
    if (error == 0)
        error = unlock_the_rest();
    if (error < 0)
        unlock_all_and_recover(refused);
}

static int apply(bool current, bool future, bool on_fault)
{
    atomic_store_explicit(&in_force, true, memory_order_relaxed);
    registry_lock_everything(true); /* first: what is released from now on is to stay locked */
    int error = on_fault ? lock_on_fault(current, future) : os_lock_all(current, future, false);
    if (error == 0) {
        all.current = current;
        all.future = future;
        all.on_fault = on_fault;
        all.epoch = registry_epoch();
    } else if (!is_in_force()) {
        atomic_store_explicit(&in_force, false, memory_order_relaxed);
        if (registry_lock_everything(false))
            unlock_the_rest();
    }
    return error;
}

int lock_all_enter(bool current, bool future, bool on_fault, int64_t *turn)
{
    pthread_mutex_lock(&mutex);
    bool more = is_in_force();
    if (!more && all.levels > 0) { /* a forked child: what it inherited is undone */
        all.levels = 0;
        all.turn++;
    }
    int error = apply(current || (more && all.current), future || (more && all.future),
                      on_fault && (!more || all.on_fault));
    if (error == 0) {
        all.levels++;
        *turn = all.turn;
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

void lock_all_leave(int64_t *turn, struct refused_relock *refused)
{
    *refused = (struct refused_relock){0};
    pthread_mutex_lock(&mutex);
    bool entered = all.levels > 0 && all.turn == *turn;
    *turn = NO_TURN;
    if (entered) {
        bool undone = !is_in_force(); /* by a fork */
        if (--all.levels == 0) {
            all.turn++;
            if (!undone)
                undo(refused);
        }
    }
    pthread_mutex_unlock(&mutex);
}

void lock_all_leave_all(struct refused_relock *refused)
{
    *refused = (struct refused_relock){0};
    pthread_mutex_lock(&mutex);
    bool undone = !is_in_force();
    all.levels = 0;
    all.turn++;
    if (!undone)
        undo(refused);
    pthread_mutex_unlock(&mutex);
}

bool lock_all_brings_in(bool current, bool on_fault)
{
    pthread_mutex_lock(&mutex);
    bool more = all.levels > 0;
    bool brings_in = (current || (more && all.current)) && !(on_fault && (!more || all.on_fault));
    pthread_mutex_unlock(&mutex);
    return brings_in;
}

bool lock_all_holds(int64_t turn)
{
    pthread_mutex_lock(&mutex);
    bool holds = is_in_force() && all.turn == turn;
    pthread_mutex_unlock(&mutex);
    return holds;
}

int64_t lock_all_again(struct refused_relock *refused)
{
    *refused = (struct refused_relock){0};
    pthread_mutex_lock(&mutex);
    bool inherited = all.levels > 0 && !is_in_force();
    uint32_t inherited_epoch = all.epoch;
    int64_t result = inherited ? apply(all.current, all.future, all.on_fault) : 0;
    if (result < 0)
        refused->error = (int)result;
    else if ((result = registry_relock(refused)) < 0 && inherited) {
        struct refused_relock ignored; /* nothing of it was locked before */
        undo(&ignored);
        all.epoch = inherited_epoch;
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

/* Fork. Under lock_all no write faults, so that every private page that was there is taken back, not only those with
   a hold (registry.c). Refused before Linux 5.14, where only those are. */

static void repair_pages(uintptr_t start, size_t pages)
{
    unsigned char resident[LOOK];
    if (os_resident(start, pages * os_page(), resident) < 0)
        return; /* gone meanwhile */
    for (size_t first = 0; first < pages;) {
        size_t last = first;
        while (last < pages && (resident[last] & 1) == (resident[first] & 1))
            last++;
        if (resident[first] & 1)
            os_populate(start + first * os_page(), (last - first) * os_page());
        first = last;
    }
}

static void repair(const struct os_mapping *mapping)
{
    size_t most = LOOK * os_page();
    for (uintptr_t at = mapping->start; at < mapping->end; at += most) {
        size_t left = mapping->end - at;
        repair_pages(at, (left < most ? left : most) / os_page());
    }
}

static void after_fork_in_parent(void)
{
    struct os_maps maps;
    struct os_mapping mapping;
    if (!atomic_load_explicit(&in_force, memory_order_relaxed) || os_open_maps(&maps) < 0)
        return;
    while (os_next_mapping(&maps, &mapping) > 0)
        if (mapping.writable && mapping.is_private)
            repair(&mapping);
    os_close_maps(&maps);
}

static void after_fork_in_child(void)
{
    atomic_store_explicit(&in_force, false, memory_order_relaxed);
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* whoever was in it stayed behind */
}

int lock_all_init(void)
{
    return -pthread_atfork(NULL, after_fork_in_parent, after_fork_in_child);
}
