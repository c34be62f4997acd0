#include "tlsf.h"

#include <string.h>

/* The header of a block; its payload follows. `before` is the physical neighbour, NULL for the first block. The lists'
   links lie in the payload, which nobody uses while the block is free. After the last block stands a header of size
   0, never free, at which merging stops. */
struct tlsf_block {
    struct tlsf_block *before;
    size_t size; /* a multiple of the grain; the lowest bit is set while the block is free */
    struct tlsf_block *next, *previous;
};

#define HEADER offsetof(struct tlsf_block, next)
#define FREE ((size_t)1)

/* So many blocks of a list are looked at. A request looks into its own list first, some of whose blocks may be too
   small, and then into one all of whose blocks fit; and of what fits it takes the lowest, so that free memory gathers
   at the other end: a random mix at 75% is refused six times less often than where the first block is taken. */
#define LOOKS 4

struct place {
    unsigned row, column;
};

/* Blocks. */

static struct tlsf_block *block_of(const void *payload)
{
    return (struct tlsf_block *)((uintptr_t)payload - HEADER);
}

static void *payload_of(struct tlsf_block *block)
{
    return &block->next;
}

static size_t size_of(const struct tlsf_block *block)
{
    return block->size & ~FREE;
}

static bool is_free(const struct tlsf_block *block)
{
    return block->size & FREE;
}

static struct tlsf_block *after(const struct tlsf_block *block)
{
    return (struct tlsf_block *)((uintptr_t)block + size_of(block));
}

size_t tlsf_block_size(size_t nbytes)
{
    return nbytes <= TLSF_MOST - 2 * TLSF_GRAIN ? (nbytes + HEADER + TLSF_GRAIN - 1) & ~(TLSF_GRAIN - 1) : 0;
}

size_t tlsf_payload_of(size_t size)
{
    return size - HEADER;
}

static size_t offset_of(const struct tlsf *tlsf, const struct tlsf_block *block)
{
    return (uintptr_t)block - (uintptr_t)tlsf->first; /* beyond the capacity, for what lies before */
}

static bool is_inside(const struct tlsf *tlsf, const struct tlsf_block *block)
{
    size_t offset = offset_of(tlsf, block);
    return offset % TLSF_GRAIN == 0 && offset < tlsf->capacity && size_of(block) != 0 &&
           size_of(block) % TLSF_GRAIN == 0 && size_of(block) <= tlsf->capacity - offset;
}

size_t tlsf_size_of(const struct tlsf *tlsf, const void *payload)
{
    const struct tlsf_block *block = block_of(payload);
    return is_inside(tlsf, block) && !is_free(block) ? block->size : 0;
}

/* What can be said of a free block by its own header alone. Else the tlsf is damaged, as below. */
static bool may_be_listed(struct tlsf *tlsf, const struct tlsf_block *block)
{
    bool may = is_inside(tlsf, block) && is_free(block);
    if (!may)
        tlsf->damaged = true;
    return may;
}

/* It knows both its neighbours, and they know it. */
static bool is_sound(struct tlsf *tlsf, const struct tlsf_block *block, bool free)
{
    const struct tlsf_block *before = block->before;
    bool sound = is_inside(tlsf, block) && is_free(block) == free && after(block)->before == block &&
                 (block == tlsf->first ? before == NULL : is_inside(tlsf, before) && after(before) == block);
    if (!sound)
        tlsf->damaged = true;
    return sound;
}

/* Lists. */

static unsigned log2_of(size_t value)
{
    return 63 - (unsigned)__builtin_clzll(value);
}

/* The list of all blocks of that size. Row 0 has a list for each of its sizes. */
static struct place place_of(size_t size)
{
    size_t grains = size / TLSF_GRAIN;
    if (grains < TLSF_COLUMNS)
        return (struct place){0, (unsigned)grains};
    unsigned log = log2_of(grains);
    return (struct place){log - 4, (unsigned)(grains >> (log - 5)) - TLSF_COLUMNS};
}

/* The smallest size of a list. */
static size_t floor_of(struct place place)
{
    size_t grains = place.row == 0 ? place.column : ((size_t)TLSF_COLUMNS + place.column) << (place.row - 1);
    return grains * TLSF_GRAIN;
}

static void list_insert(struct tlsf *tlsf, struct tlsf_block *block)
{
    struct place place = place_of(size_of(block));
    struct tlsf_block **head = &tlsf->lists[place.row][place.column];
    block->size |= FREE;
    block->previous = NULL;
    block->next = *head;
    if (*head != NULL)
        (*head)->previous = block;
    *head = block;
    tlsf->rows |= 1u << place.row;
    tlsf->columns[place.row] |= 1u << place.column;
}

static void list_remove(struct tlsf *tlsf, struct tlsf_block *block)
{
    struct place place = place_of(size_of(block));
    struct tlsf_block **head = &tlsf->lists[place.row][place.column];
    if (block->next != NULL)
        block->next->previous = block->previous;
    if (block->previous != NULL)
        block->previous->next = block->next;
    else
        *head = block->next;
    if (*head == NULL) {
        tlsf->columns[place.row] &= ~(1u << place.column);
        if (tlsf->columns[place.row] == 0)
            tlsf->rows &= ~(1u << place.row);
    }
    block->size &= ~FREE;
}

/* The list of the largest blocks; false where nothing is free. */
static bool highest(const struct tlsf *tlsf, struct place *place)
{
    if (tlsf->rows == 0)
        return false;
    place->row = log2_of(tlsf->rows);
    place->column = log2_of(tlsf->columns[place->row]);
    return true;
}

/* The first list after this one that has a block. */
static struct tlsf_block *above(const struct tlsf *tlsf, struct place place)
{
    uint32_t columns = tlsf->columns[place.row] & ~1u << place.column;
    if (columns == 0) {
        uint32_t rows = tlsf->rows & ~1u << place.row;
        if (rows == 0)
            return NULL;
        place.row = (unsigned)__builtin_ctz(rows);
        columns = tlsf->columns[place.row];
    }
    return tlsf->lists[place.row][__builtin_ctz(columns)];
}

static struct tlsf_block *lowest_that_fits(struct tlsf *tlsf, struct tlsf_block *block, size_t size)
{
    struct tlsf_block *lowest = NULL;
    for (int look = 0; block != NULL && look < LOOKS; look++, block = block->next) {
        if (!may_be_listed(tlsf, block))
            return NULL;
        if (size_of(block) >= size && (lowest == NULL || block < lowest))
            lowest = block;
    }
    return lowest;
}

static struct tlsf_block *find(struct tlsf *tlsf, size_t size)
{
    struct place place = place_of(size);
    struct tlsf_block *own = lowest_that_fits(tlsf, tlsf->lists[place.row][place.column], size);
    return own != NULL || tlsf->damaged ? own : lowest_that_fits(tlsf, above(tlsf, place), size);
}

/* Cutting and merging. Neither block is in a list. */

/* Keep `size` of the block, and make the rest a block of its own. NULL where nothing is left. */
static struct tlsf_block *cut(struct tlsf_block *block, size_t size)
{
    size_t left = size_of(block) - size;
    if (left == 0)
        return NULL;
    struct tlsf_block *rest = (struct tlsf_block *)((uintptr_t)block + size);
    rest->before = block;
    rest->size = left;
    after(rest)->before = rest;
    block->size = size;
    return rest;
}

static void merge(struct tlsf_block *block, const struct tlsf_block *next)
{
    block->size += next->size;
    after(block)->before = block;
}

/* Its neighbours are sound where they are free. */
static void put_back(struct tlsf *tlsf, struct tlsf_block *block)
{
    struct tlsf_block *next = after(block), *before = block->before;
    if (is_free(next)) {
        list_remove(tlsf, next);
        merge(block, next);
    }
    if (before != NULL && is_free(before)) {
        list_remove(tlsf, before);
        merge(before, block);
        block = before;
    }
    list_insert(tlsf, block);
}

/* The allocator. */

size_t tlsf_memory(size_t capacity)
{
    return TLSF_GRAIN + capacity;
}

void tlsf_init(struct tlsf *tlsf, void *memory, size_t capacity)
{
    memset(tlsf, 0, sizeof *tlsf);
    struct tlsf_block *first = block_of((char *)memory + TLSF_GRAIN);
    first->before = NULL;
    first->size = capacity;
    after(first)->before = first;
    after(first)->size = 0;
    tlsf->first = first;
    tlsf->capacity = capacity;
    list_insert(tlsf, first);
}

void *tlsf_take(struct tlsf *tlsf, size_t size)
{
    struct tlsf_block *block = size == 0 ? NULL : find(tlsf, size);
    if (block == NULL || !is_sound(tlsf, block, true))
        return NULL;
    list_remove(tlsf, block);
    struct tlsf_block *rest = cut(block, size);
    if (rest != NULL)
        list_insert(tlsf, rest);
    tlsf->in_use += size;
    return payload_of(block);
}

static bool next_is_sound(struct tlsf *tlsf, const struct tlsf_block *block)
{
    return !is_free(after(block)) || is_sound(tlsf, after(block), true);
}

static bool before_is_sound(struct tlsf *tlsf, const struct tlsf_block *block)
{
    return block->before == NULL || !is_free(block->before) || is_sound(tlsf, block->before, true);
}

void tlsf_give(struct tlsf *tlsf, void *payload)
{
    struct tlsf_block *block = block_of(payload);
    if (!is_sound(tlsf, block, false) || !next_is_sound(tlsf, block) || !before_is_sound(tlsf, block))
        return;
    tlsf->in_use -= block->size;
    put_back(tlsf, block);
}

bool tlsf_resize(struct tlsf *tlsf, void *payload, size_t size)
{
    struct tlsf_block *block = block_of(payload);
    if (!is_sound(tlsf, block, false) || !next_is_sound(tlsf, block))
        return false;
    struct tlsf_block *next = after(block);
    size_t old = block->size;
    if (size > old) {
        if (!is_free(next) || size - old > size_of(next))
            return false;
        list_remove(tlsf, next);
        merge(block, next);
    }
    struct tlsf_block *rest = cut(block, size);
    if (rest != NULL)
        put_back(tlsf, rest);
    tlsf->in_use += size - old;
    return true;
}

size_t tlsf_largest(struct tlsf *tlsf)
{
    struct place place;
    size_t largest = HEADER;
    if (highest(tlsf, &place)) {
        /* What find would look at. */
        const struct tlsf_block *block = tlsf->lists[place.row][place.column];
        for (int look = 0; block != NULL && look < LOOKS && may_be_listed(tlsf, block); look++, block = block->next)
            if (size_of(block) > largest)
                largest = size_of(block);
    }
    return tlsf_payload_of(largest);
}

/* Looking at it. */

static const char *check_blocks(const struct tlsf *tlsf, size_t *free_blocks)
{
    const struct tlsf_block *before = NULL, *block = tlsf->first;
    uintptr_t end = (uintptr_t)tlsf->first + tlsf->capacity;
    size_t in_use = 0;
    for (; (uintptr_t)block < end; before = block, block = after(block)) {
        if (block->before != before)
            return "a block does not know the one before it";
        if (!is_inside(tlsf, block))
            return "a block's size cannot be";
        if (is_free(block) && before != NULL && is_free(before))
            return "two free blocks lie side by side";
        if (is_free(block))
            ++*free_blocks;
        else
            in_use += block->size;
    }
    if (block->size != 0 || block->before != before)
        return "the end is overwritten";
    return in_use == tlsf->in_use ? NULL : "the sum of the blocks is not what is in use";
}

/* At most `most` blocks: a list that is longer runs in a circle. */
static const char *check_list(const struct tlsf *tlsf, struct place place, size_t *most)
{
    const struct tlsf_block *previous = NULL, *block = tlsf->lists[place.row][place.column];
    bool marked = tlsf->columns[place.row] >> place.column & 1;
    if (marked != (block != NULL))
        return "the bit of a list is wrong";
    for (; block != NULL; previous = block, block = block->next) {
        if ((*most)-- == 0)
            return "the lists hold more than there is free";
        if (!is_inside(tlsf, block) || !is_free(block))
            return "a list holds what is not free";
        struct place own = place_of(size_of(block));
        if (own.row != place.row || own.column != place.column || size_of(block) < floor_of(place))
            return "a block is in the wrong list";
        if (block->previous != previous)
            return "a list's links do not agree";
    }
    return NULL;
}

const char *tlsf_check(const struct tlsf *tlsf)
{
    size_t free_blocks = 0;
    const char *wrong = check_blocks(tlsf, &free_blocks);
    for (unsigned row = 0; wrong == NULL && row < TLSF_ROWS; row++) {
        if ((tlsf->rows >> row & 1) != (tlsf->columns[row] != 0))
            return "the bit of a row is wrong";
        for (unsigned column = 0; wrong == NULL && column < TLSF_COLUMNS; column++)
            wrong = check_list(tlsf, (struct place){row, column}, &free_blocks);
    }
    if (wrong == NULL && free_blocks != 0)
        return "a free block is in no list";
    return wrong;
}

void tlsf_occupancy(struct tlsf *tlsf, size_t cells, size_t width, size_t *used)
{
    const struct tlsf_block *block = tlsf->first;
    memset(used, 0, cells * sizeof *used);
    for (; is_inside(tlsf, block); block = after(block)) {
        size_t at = offset_of(tlsf, block);
        size_t end = is_free(block) ? at : at + block->size;
        while (at < end) {
            size_t stop = (at / width + 1) * width;
            if (stop > end)
                stop = end;
            used[at / width] += stop - at;
            at = stop;
        }
    }
    if (offset_of(tlsf, block) != tlsf->capacity)
        tlsf->damaged = true;
}
