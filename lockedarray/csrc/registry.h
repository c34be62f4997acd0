/* Who holds which page.

   Locks do not nest in the kernel: one munlock undoes any number of mlocks. So every owner of locked pages, a
   region or a lock on existing memory, registers a hold, and a page is unlocked when the last hold that covers
   it goes. The holds lie in trees by address, each inside its owner: nothing is allocated here.

   The mutex is held for moments, and never over Python, an allocation, or the locking of fresh memory: a
   finalizer may wait for it with the GIL in its hand. Only munlock runs under it (a page must not be unlocked
   after somebody else has taken it), a bounded number of pages at a time; and registry_relock, which is rare. */
#ifndef LOCKEDARRAY_REGISTRY_H
#define LOCKEDARRAY_REGISTRY_H

#include "hold_tree.h"

int registry_init(void);

/* Register the pages and lock them. A failure (-errno) leaves them registered, and perhaps partly locked: the owner
   releases them. */
int registry_lock(struct hold *hold);

/* Register pages that the caller prefaults instead (on_error="warn"). */
void registry_add(struct hold *hold);

/* Forget the pages, once or again; their owner unmaps them, which unlocks them. */
void registry_remove(struct hold *hold);

/* Forget the pages and unlock those which no other hold covers. On failure the hold stays, over what is left. */
int registry_release(struct hold *hold);

/* The kernel has unlocked these pages, and would not lock them again. */
void registry_mark_unlocked(struct hold *hold);

/* Unlock what no hold covers of the pages from *at to `end`, or fail with -errno and *at where it stopped. */
int registry_unlock_uncovered(uintptr_t *at, uintptr_t end);

/* While everything is locked a release unlocks nothing. Returns whether one would have done since it began. */
bool registry_lock_everything(bool begins);

/* Lock again what no longer is: after munlockall all that can be, and what was refused is counted; */
struct refused_relock;
void registry_recover(struct refused_relock *refused);
/* in a forked child all of it (returns the bytes), or at the first refusal nothing (-errno). */
int64_t registry_relock(struct refused_relock *refused);

/* Between registry_enter and registry_leave: cut `bytes` off the front of a registered hold into `front`, which
   is registered too; and put them back. */
void registry_split(struct hold *hold, struct hold *front, size_t bytes);
void registry_join(struct hold *front, struct hold *hold);

void registry_set_repair(struct hold *hold, bool repair);

/* Locked, as far as we know, in this process: false in a forked child, whose memory the kernel does not lock. */
bool registry_is_locked(const struct hold *hold);

/* Counts the forks between the first process and this one. */
uint32_t registry_epoch(void);

/* The mutex, for what belongs together with the holds (pool.c). */
void registry_enter(void);
void registry_leave(void);

/* Replacing locked pages by others gives up their share of the limit for a moment. While the gate is closed no
   other lock of ours can take it. */
void registry_close_gate(void);
void registry_open_gate(void);

#endif
