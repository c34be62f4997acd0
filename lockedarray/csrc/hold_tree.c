#include "hold_tree.h"

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

void hold_tree_insert(struct hold **root, struct hold *node)
{
    struct hold **link = root;
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

void hold_tree_remove(struct hold **root, struct hold *hold)
{
    *root = without(*root, hold);
}

void hold_tree_move(struct hold **root, struct hold **from)
{
    struct hold *hold;
    if (*root == NULL) {
        *root = *from;
        *from = NULL;
    }
    while ((hold = *from) != NULL) {
        hold_tree_remove(from, hold);
        hold_tree_insert(root, hold);
    }
}

uintptr_t hold_tree_reach(const struct hold *root, uintptr_t at)
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

uintptr_t hold_tree_next_start(const struct hold *root, uintptr_t at)
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
