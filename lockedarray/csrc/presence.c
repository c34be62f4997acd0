#include "presence.h"

#include <errno.h>
#include <pthread.h>

#include "region.h"

static struct presence *all; /* under the registry's mutex, which fork holds too */

/* A byte that nobody else will choose, far beyond the data. */
static int choose_id(uint64_t *id)
{
    int error = os_random(id, sizeof *id);
    *id = (*id >> 2) | (UINT64_C(1) << 61);
    return error;
}

/* A byte of `fd` for whoever has it open; or -errno. */
static int take_byte(int fd, bool shared, uint64_t *id)
{
    uint64_t chosen;
    int error = choose_id(&chosen);
    if (error == 0)
        error = os_lock_byte(fd, chosen, shared);
    if (error == 0)
        *id = chosen;
    return error;
}

/* Another open file in place of `fd`: a mapping keeps the one that it was made of, and a forked child's mapping would
   keep our lock when we are dead. Without /proc it stays that one. Or -errno, and `fd` is closed. */
static int open_apart(int fd)
{
    int apart = os_reopen(fd);
    if (apart == -ENOENT)
        return fd;
    os_close(fd);
    return apart;
}

static void enlist(struct presence *presence)
{
    registry_enter();
    presence->next = all;
    presence->link = &all;
    if (all != NULL)
        all->link = &presence->next;
    all = presence;
    registry_leave();
}

int presence_begin(struct presence *presence, struct la_ring *ring, int fd, struct failure *failure)
{
    *failure = (struct failure){"open of the ring's file through /proc/self/fd", open_apart(fd)};
    fd = failure->error;
    if (fd < 0)
        return fd;
    *presence = (struct presence){.ring = ring, .fd = fd, .handed_fd = -1};
    int error = take_byte(fd, false, &ring->id);
    if (error < 0) {
        os_close(fd);
        *failure = (struct failure){"fcntl(F_OFD_SETLK)", error};
        return error;
    }
    ring->fd = fd;
    ring->counted = 1;
    __atomic_fetch_add(&ring->shared->attached, 1, __ATOMIC_RELAXED);
    enlist(presence);
    return 0;
}

void presence_end(struct presence *presence)
{
    registry_enter();
    *presence->link = presence->next;
    if (presence->next != NULL)
        presence->next->link = presence->link;
    registry_leave();
    if (presence->fd >= 0)
        os_close(presence->fd);
    if (presence->handed_fd >= 0)
        os_close(presence->handed_fd);
}

int presence_hand_out(struct presence *presence)
{
    if (presence->fd < 0)
        return presence->error;
    if (presence->handed_fd >= 0)
        return presence->handed_fd;
    int fd = os_reopen(presence->fd);
    if (fd < 0)
        return fd;
    int error = take_byte(fd, true, &presence->ring->handed);
    if (error < 0) {
        os_close(fd);
        return error;
    }
    return presence->handed_fd = fd;
}

/* A forked child has the parent's open files: as long as it kept them, its parent would seem to live. It opens its
   own, is neither side yet, and catches up with the header before it becomes one. */
static void begin_again(struct presence *presence)
{
    struct la_ring *ring = presence->ring;
    int inherited = presence->fd;
    ring->id = 0; /* what was handed out stays: its number is known to others */
    ring->counted = ring->writer.mine = ring->reader.mine = 0;
    ring->writer.window = ring->reader.window = 0; /* they are the parent's */
    if (inherited < 0)
        return;
    presence->fd = os_reopen(inherited);
    os_close(inherited);
    if (presence->fd >= 0)
        presence->error = take_byte(presence->fd, false, &ring->id);
    else
        presence->error = presence->fd;
    if (presence->error < 0 && presence->fd >= 0) {
        os_close(presence->fd);
        presence->fd = -1;
    }
    ring->fd = presence->fd = presence->error < 0 ? -1 : presence->fd;
}

static void after_fork_in_child(void)
{
    for (struct presence *presence = all; presence != NULL; presence = presence->next)
        begin_again(presence);
}

int presence_init(void)
{
    return -pthread_atfork(NULL, NULL, after_fork_in_child);
}
