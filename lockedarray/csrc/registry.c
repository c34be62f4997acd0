#include "registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cdef.h"

/* munlock takes some 30 us a MiB: nobody waits longer than that for the mutex. */
#define UNLOCK_AT_ONCE ((uintptr_t)1 << 20)

/* A hold that munlockall unlocked: no process has this epoch. */
#define NO_EPOCH 0

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;
/* Guarded by the mutex: each hold is in the tree that tree_of names. */
static struct hold *locked;   /* what keeps pages locked */
static struct hold *lost;     /* was locked once, and is no longer: all that a forked child inherits */
static struct hold *resident; /* never was */
static bool everything, owed; /* see registry_lock_everything */
/* Relaxed: changed only in a forked child, which has one thread then. */
static _Atomic uint32_t epoch = NO_EPOCH + 1;

void registry_enter(void)
{
    pthread_mutex_lock(&mutex);
}

void registry_leave(void)
{
    pthread_mutex_unlock(&mutex);
}

void registry_close_gate(void)
{
    pthread_rwlock_wrlock(&gate);
}

void registry_open_gate(void)
{
    pthread_rwlock_unlock(&gate);
}

uint32_t registry_epoch(void)
{
    return atomic_load_explicit(&epoch, memory_order_relaxed);
}

bool registry_is_locked(const struct hold *hold)
{
    return hold->locked && hold->epoch == registry_epoch();
}

/* Under the mutex. */

static struct hold **tree_of(const struct hold *hold)
{
    if (!hold->locked)
        return &resident;
    return hold->epoch == registry_epoch() ? &locked : &lost;
}

static void insert(struct hold *hold)
{
    hold_tree_insert(tree_of(hold), hold);
    hold->registered = true;
}

static void take_out(struct hold *hold)
{
    hold_tree_remove(tree_of(hold), hold);
    hold->registered = false;
}

static size_t bytes_of(const struct hold *hold)
{
    return hold->end - hold->start;
}

/* Locking and releasing. */

static int lock_pages(const struct hold *hold)
{
    pthread_rwlock_rdlock(&gate);
    int error = os_lock(hold->start, bytes_of(hold));
    pthread_rwlock_unlock(&gate);
    return error;
}

static void add(struct hold *hold, bool to_lock)
{
    hold->locked = to_lock;
    hold->epoch = registry_epoch();
    registry_enter();
    insert(hold);
    registry_leave();
}

void registry_add(struct hold *hold)
{
    add(hold, false);
}

int registry_lock(struct hold *hold)
{
    /* Registered first: from here on nobody unlocks these pages, and a fork in another thread repairs them. */
    add(hold, true);
    return lock_pages(hold);
}

void registry_remove(struct hold *hold)
{
    registry_enter();
    if (hold->registered)
        take_out(hold);
    registry_leave();
}

void registry_mark_unlocked(struct hold *hold)
{
    registry_enter();
    take_out(hold);
    hold->locked = false;
    insert(hold);
    registry_leave();
}

/* Another thread may unmap the page between the two calls: asked again, it is gone. */
static int unlock_if_mapped(uintptr_t page)
{
    int error = 0;
    for (int tries = 4; tries > 0 && os_is_mapped(page); tries--)
        if ((error = os_unlock(page, os_page())) == 0)
            return 0;
    return os_is_mapped(page) ? error : 0;
}

/* ENOMEM means either a hole, where there is nothing to unlock, or no map entry left to split a mapping with. */
static int unlock_pages(uintptr_t start, uintptr_t end)
{
    int error = os_unlock(start, end - start);
    if (error != -ENOMEM)
        return error;
    for (uintptr_t page = start; page < end; page += os_page())
        if ((error = unlock_if_mapped(page)) < 0)
            return error;
    return 0;
}

/* Under the mutex: one step on. */
static int unlock_next(uintptr_t *at, uintptr_t end)
{
    uintptr_t covered = hold_tree_reach(locked, *at);
    if (covered > *at) {
        *at = covered;
        return 0;
    }
    uintptr_t stop = hold_tree_next_start(locked, *at);
    if (stop > end)
        stop = end;
    if (stop - *at > UNLOCK_AT_ONCE)
        stop = *at + UNLOCK_AT_ONCE;
    owed |= everything;
    int error = everything ? 0 : unlock_pages(*at, stop);
    if (error == 0)
        *at = stop;
    return error;
}

int registry_unlock_uncovered(uintptr_t *at, uintptr_t end)
{
    int error = 0;
    while (error == 0 && *at < end) {
        registry_enter();
        error = unlock_next(at, end);
        registry_leave();
    }
    return error;
}

int registry_release(struct hold *hold)
{
    registry_remove(hold);
    if (!registry_is_locked(hold)) /* in a forked child: there is nothing to unlock */
        return 0;
    uintptr_t at = hold->start;
    int error = registry_unlock_uncovered(&at, hold->end);
    if (error < 0) {
        hold->start = at;
        registry_enter();
        insert(hold);
        registry_leave();
    }
    return error;
}

void registry_split(struct hold *hold, struct hold *front, size_t bytes)
{
    take_out(hold);
    *front = *hold;
    front->end = hold->start += bytes;
    insert(front);
    insert(hold);
}

void registry_join(struct hold *front, struct hold *hold)
{
    take_out(front);
    take_out(hold);
    hold->start = front->start;
    insert(hold);
}

void registry_set_repair(struct hold *hold, bool repair)
{
    registry_enter();
    hold->repair = repair;
    registry_leave();
}

/* Everything locked, and locked again. */

bool registry_lock_everything(bool begins)
{
    registry_enter();
    bool was_owed = owed;
    everything = begins;
    owed = false;
    registry_leave();
    return was_owed;
}

static void count_refused(struct refused_relock *refused, const struct hold *hold, int error)
{
    if (refused->holds++ == 0 || hold->start < refused->lowest)
        refused->lowest = hold->start;
    refused->bytes += bytes_of(hold);
    refused->error = error;
}

/* Under the mutex: lock what is lost into `regained`, up to the first refusal or all that can be had. */
static void regain(struct hold **regained, struct hold **kept_out, bool all_or_nothing,
                   struct refused_relock *refused)
{
    struct hold *hold;
    while ((hold = lost) != NULL) {
        hold_tree_remove(&lost, hold);
        int error = os_lock(hold->start, bytes_of(hold));
        hold_tree_insert(error == 0 ? regained : kept_out, hold);
        if (error == 0)
            continue;
        count_refused(refused, hold, error);
        if (all_or_nothing)
            return;
    }
}

/* Under the mutex: nothing of it stays locked but what holds in `locked` cover. A failed mlock locks a part. */
static void unlock_rest(const struct hold *hold)
{
    if (hold == NULL)
        return;
    unlock_rest(hold->left);
    for (uintptr_t at = hold->start; at < hold->end && unlock_next(&at, hold->end) == 0;)
        ;
    unlock_rest(hold->right);
}

static void set_epoch(struct hold *hold, uint32_t to)
{
    if (hold == NULL)
        return;
    hold->epoch = to;
    set_epoch(hold->left, to);
    set_epoch(hold->right, to);
}

static int64_t bytes_in(const struct hold *hold)
{
    return hold == NULL ? 0 : (int64_t)bytes_of(hold) + bytes_in(hold->left) + bytes_in(hold->right);
}

void registry_recover(struct refused_relock *refused)
{
    struct hold *regained = NULL, *kept_out = NULL;
    *refused = (struct refused_relock){0};
    registry_enter();
    struct hold *lost_before = lost; /* which stays so: a forked child has not asked for it */
    lost = locked;
    regain(&regained, &kept_out, false, refused);
    set_epoch(regained, registry_epoch());
    set_epoch(kept_out, NO_EPOCH);
    locked = regained;
    lost = kept_out;
    hold_tree_move(&lost, &lost_before);
    unlock_rest(lost);
    registry_leave();
}

int64_t registry_relock(struct refused_relock *refused)
{
    struct hold *regained = NULL, *kept_out = NULL;
    *refused = (struct refused_relock){0};
    pthread_rwlock_rdlock(&gate);
    registry_enter();
    regain(&regained, &kept_out, true, refused);
    int64_t bytes = bytes_in(regained);
    if (kept_out == NULL) {
        set_epoch(regained, registry_epoch());
        hold_tree_move(&locked, &regained);
    } else {
        hold_tree_move(&lost, &regained);
        hold_tree_move(&lost, &kept_out);
        unlock_rest(lost);
    }
    registry_leave();
    pthread_rwlock_unlock(&gate);
    return refused->error < 0 ? refused->error : bytes;
}

/* Fork. It makes every private page copy-on-write, so that the parent's next write to it would fault: the
   parent takes its pages back before fork returns there. The child inherits no lock at all. */

static void repair(const struct hold *hold)
{
    if (hold == NULL)
        return;
    repair(hold->left);
    size_t bytes = bytes_of(hold);
    if (hold->repair && bytes > 0 && os_populate(hold->start, bytes) < 0 && !hold->borrowed)
        os_touch(hold->start, bytes);
    repair(hold->right);
}

static void after_fork_in_parent(void)
{
    repair(locked);
    repair(lost);
    repair(resident);
    registry_leave();
}

static void after_fork_in_child(void)
{
    atomic_fetch_add_explicit(&epoch, 1, memory_order_relaxed);
    hold_tree_move(&lost, &locked);
    everything = owed = false;
    registry_leave();
    /* Whoever was in it stayed behind in the parent. */
    gate = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
}

int registry_init(void)
{
    /* Not os.register_at_fork: that misses forks made by C, and subprocess with preexec_fn, user or group. */
    return -pthread_atfork(registry_enter, after_fork_in_parent, after_fork_in_child);
}
