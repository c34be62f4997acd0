/* Holds by address: a treap by (start, address of the node), with the highest end of each subtree. It allocates
   nothing, for the nodes lie in their owners. */
#ifndef LOCKEDARRAY_HOLD_TREE_H
#define LOCKEDARRAY_HOLD_TREE_H

#include "os.h"

/* A run of pages that somebody holds: see registry.h. */
struct hold {
    uintptr_t start, end; /* whole pages; do not change while the hold is registered */
    bool registered;
    bool repair;          /* private and writable: fork would make the parent's next write fault */
    bool borrowed;        /* memory of somebody else: what we know of it may be out of date */
    bool locked;          /* it is to be locked, and was in the process of this epoch */
    uint32_t epoch;
    /* the tree's own */
    uint32_t priority;
    uintptr_t max_end; /* no end below this node is higher */
    struct hold *left, *right;
};

void hold_tree_insert(struct hold **root, struct hold *hold);
void hold_tree_remove(struct hold **root, struct hold *hold);

/* All of `from`, which is empty afterwards. */
void hold_tree_move(struct hold **root, struct hold **from);

/* How far holds that begin at or before `at` reach. */
uintptr_t hold_tree_reach(const struct hold *root, uintptr_t at);

/* Where the first hold after `at` begins. */
uintptr_t hold_tree_next_start(const struct hold *root, uintptr_t at);

#endif
