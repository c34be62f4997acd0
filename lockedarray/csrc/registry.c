#include "registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/* munlock takes some 30 us a MiB: nobody waits longer than that for the mutex. */
#define UNLOCK_AT_ONCE ((uintptr_t)1 << 20)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;
static struct hold *root;
/* Relaxed: changed only in a forked child, which has one thread then. */
static _Atomic uint32_t epoch = 1;

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

/* The tree: a treap by (start, address of the node), with the highest end of each subtree. */

static uint32_t next_priority(void)
{
    static uint32_t state = 2463534242u; /* xorshift32; any balance will do */
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

static bool before(const struct hold *a, const struct hold *b)
{
    return a->start != b->start ? a->start < b->start : a < b;
}

static void update_max_end(struct hold *node)
{
    node->max_end = node->end;
    if (node->left != NULL && node->left->max_end > node->max_end)
        node->max_end = node->left->max_end;
    if (node->right != NULL && node->right->max_end > node->max_end)
        node->max_end = node->right->max_end;
}

static void split(struct hold *tree, const struct hold *at, struct hold **low, struct hold **high)
{
    if (tree == NULL) {
        *low = *high = NULL;
        return;
    }
    if (before(tree, at)) {
        split(tree->right, at, &tree->right, high);
        *low = tree;
    } else {
        split(tree->left, at, low, &tree->left);
        *high = tree;
    }
    update_max_end(tree);
}

static struct hold *merge(struct hold *low, struct hold *high)
{
    if (low == NULL || high == NULL)
        return low != NULL ? low : high;
    struct hold *top;
    if (low->priority > high->priority) {
        low->right = merge(low->right, high);
        top = low;
    } else {
        high->left = merge(low, high->left);
        top = high;
    }
    update_max_end(top);
    return top;
}

static void insert(struct hold *node)
{
    struct hold **link = &root;
    node->priority = next_priority();
    while (*link != NULL && (*link)->priority >= node->priority) {
        if ((*link)->max_end < node->end)
            (*link)->max_end = node->end;
        link = before(node, *link) ? &(*link)->left : &(*link)->right;
    }
    split(*link, node, &node->left, &node->right);
    update_max_end(node);
    *link = node;
}

static struct hold *without(struct hold *tree, struct hold *node)
{
    if (tree == node)
        return merge(node->left, node->right);
    if (before(node, tree))
        tree->left = without(tree->left, node);
    else
        tree->right = without(tree->right, node);
    update_max_end(tree);
    return tree;
}

/* How far holds that begin at or before `at` reach. */
static uintptr_t reach(uintptr_t at)
{
    uintptr_t highest = 0;
    for (const struct hold *node = root; node != NULL;) {
        if (node->start > at) {
            node = node->left;
            continue;
        }
        if (node->left != NULL && node->left->max_end > highest)
            highest = node->left->max_end;
        if (node->end > highest)
            highest = node->end;
        node = node->right;
    }
    return highest;
}

/* Where the first hold after `at` begins. */
static uintptr_t next_start(uintptr_t at)
{
    uintptr_t lowest = UINTPTR_MAX;
    for (const struct hold *node = root; node != NULL;) {
        if (node->start > at) {
            lowest = node->start;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return lowest;
}

/* Locking and releasing. */

static int lock_pages(const struct hold *hold)
{
    pthread_rwlock_rdlock(&gate);
    int error = os_lock(hold->start, hold->end - hold->start);
    pthread_rwlock_unlock(&gate);
    return error;
}

void registry_add(struct hold *hold)
{
    hold->epoch = registry_epoch();
    registry_enter();
    insert(hold);
    hold->registered = true;
    registry_leave();
}

int registry_lock(struct hold *hold)
{
    /* Registered first: from here on nobody unlocks these pages, and a fork in another thread repairs them. */
    hold->locked = false;
    registry_add(hold);
    int error = lock_pages(hold);
    hold->locked = error == 0;
    return error;
}

void registry_remove(struct hold *hold)
{
    registry_enter();
    if (hold->registered)
        root = without(root, hold);
    hold->registered = false;
    registry_leave();
}

/* ENOMEM means either a hole, where there is nothing to unlock, or no map entry left to split a mapping with. */
static int unlock_pages(uintptr_t start, uintptr_t end)
{
    int error = os_unlock(start, end - start);
    if (error != -ENOMEM)
        return error;
    for (uintptr_t page = start; page < end; page += os_page())
        if (os_is_mapped(page) && (error = os_unlock(page, os_page())) < 0)
            return error;
    return 0;
}

int registry_release(struct hold *hold)
{
    registry_remove(hold);
    int error = 0;
    for (uintptr_t at = hold->start; error == 0 && at < hold->end;) {
        registry_enter();
        uintptr_t covered = reach(at);
        if (covered > at) {
            at = covered;
        } else {
            uintptr_t stop = next_start(at);
            if (stop > hold->end)
                stop = hold->end;
            if (stop - at > UNLOCK_AT_ONCE)
                stop = at + UNLOCK_AT_ONCE;
            error = unlock_pages(at, stop);
            if (error == 0) {
                at = stop;
            } else {
                hold->start = at;
                insert(hold);
                hold->registered = true;
            }
        }
        registry_leave();
    }
    return error;
}

void registry_split(struct hold *hold, struct hold *front, size_t bytes)
{
    root = without(root, hold);
    *front = *hold;
    front->end = hold->start += bytes;
    insert(front);
    insert(hold);
}

void registry_join(struct hold *front, struct hold *hold)
{
    root = without(root, front);
    root = without(root, hold);
    front->registered = false;
    hold->start = front->start;
    insert(hold);
}

void registry_set_repair(struct hold *hold, bool repair)
{
    registry_enter();
    hold->repair = repair;
    registry_leave();
}

bool registry_is_locked(const struct hold *hold)
{
    return hold->locked && hold->epoch == registry_epoch();
}

uint32_t registry_epoch(void)
{
    return atomic_load_explicit(&epoch, memory_order_relaxed);
}

/* Fork. It makes every private page copy-on-write, so that the parent's next write to it would fault: the
   parent takes its pages back before fork returns there. The child inherits no lock at all. */

static void repair(const struct hold *node)
{
    if (node == NULL)
        return;
    repair(node->left);
    size_t bytes = node->end - node->start;
    if (node->repair && bytes > 0 && os_populate(node->start, bytes) < 0 && !node->borrowed)
        os_touch(node->start, bytes);
    repair(node->right);
}

static void after_fork_in_parent(void)
{
    repair(root);
    registry_leave();
}

static void after_fork_in_child(void)
{
    atomic_fetch_add_explicit(&epoch, 1, memory_order_relaxed);
    registry_leave();
    /* Whoever was in it stayed behind in the parent. */
    gate = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
}

int registry_init(void)
{
    /* Not os.register_at_fork: that misses forks made by C, and subprocess with preexec_fn, user or group. */
    return -pthread_atfork(registry_enter, after_fork_in_parent, after_fork_in_child);
}
