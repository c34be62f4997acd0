/* Two-level segregated fit: an allocator over memory of somebody else, in constant time, whose blocks merge the moment
   they come back. Masmano, Ripoll, Crespo, Real: "TLSF: a new dynamic memory allocator for real-time systems" (2004).

   Nothing here locks, waits, or knows where the memory is from: who calls it keeps others out. */
#ifndef LOCKEDARRAY_TLSF_H
#define LOCKEDARRAY_TLSF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLSF_GRAIN ((size_t)64)   /* payloads are aligned to it, and blocks are multiples of it */
#define TLSF_ROWS 32              /* a row for each power of two, */
#define TLSF_COLUMNS 32           /* cut into so many lists: what a list's blocks differ by is 1/32 */
#define TLSF_MOST ((size_t)1 << 42) /* what the rows reach */

struct tlsf_block;

struct tlsf {
    struct tlsf_block *first;     /* this and the next do not change: */
    size_t capacity;              /* tlsf_size_of reads them while others are at work */
    struct tlsf_block *lists[TLSF_ROWS][TLSF_COLUMNS];
    uint32_t rows;                /* a bit for each row that has a free block, */
    uint32_t columns[TLSF_ROWS];  /* and for each list that has one */
    size_t in_use;                /* bytes of blocks, headers included */
    bool damaged;                 /* a header is not what it was, for somebody wrote beyond their memory: what met it
                                     has changed nothing, and nothing must be asked any more */
};

/* The block that so many bytes need, header included (0 where there can be none); and what of it is the user's. */
size_t tlsf_block_size(size_t nbytes);
size_t tlsf_payload_of(size_t size);

/* The size of a block in use, or 0 where its header is overwritten. Its owner may ask without keeping others out. */
size_t tlsf_size_of(const struct tlsf *tlsf, const void *payload);

/* Bytes of memory that so many bytes of blocks need: the first header lies before the first grain, the last after. */
size_t tlsf_memory(size_t capacity);

/* Over memory that is aligned to the grain, for so many bytes of blocks, a multiple of the grain. */
void tlsf_init(struct tlsf *tlsf, void *memory, size_t capacity);

/* A payload in a block of that size, or NULL; there is none of size 0. */
void *tlsf_take(struct tlsf *tlsf, size_t size);

void tlsf_give(struct tlsf *tlsf, void *payload);

/* Make a block larger or smaller where it lies, or return false and leave it. */
bool tlsf_resize(struct tlsf *tlsf, void *payload, size_t size);

/* The most bytes that one tlsf_take can give now. */
size_t tlsf_largest(struct tlsf *tlsf);

/* NULL, or what is wrong: each block, each list, each bit and the sums are looked at. */
const char *tlsf_check(const struct tlsf *tlsf);

/* How many bytes of each of `cells` parts of `width` bytes are in use. */
void tlsf_occupancy(struct tlsf *tlsf, size_t cells, size_t width, size_t *used);

#endif
