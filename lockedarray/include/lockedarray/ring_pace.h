/* How two CPUs at full speed keep from treading on each other's heels: for C11 and C++17; ring.h includes this.

   A reader that is faster than the writer finds one item a look. Each look takes the line of the index away from the
   writer, which has to fetch it back before it can publish the next item, so that again there is one: a stream of 8
   bytes took 30 to 130 ns an item instead of 4, for good or for a while, as chance would have it. So it is with a writer
   at the end of a full ring.

   A side that finds little at once, hardly ever having found nothing, therefore puts its next look off for a moment, in
   which the other gets ahead by many items. That is the whole cure: 8 bytes go through in 4 ns each time, and 512 in 28
   instead of 90. Whoever finds nothing is waiting for something that is not yet made; there the index is looked at as
   fast as can be. A moment has to bring more than looks find without one: if it does not, as when one thread writes and
   reads by turns, it is tried again ever more seldom.

   Only windows and whole blocks of this header wait like that; Python's calls look at once. */
#ifndef LOCKEDARRAY_INCLUDED_RING_PACE_H
#define LOCKEDARRAY_INCLUDED_RING_PACE_H

#ifndef LOCKEDARRAY_INCLUDED_RING_H
#error "include lockedarray/ring.h, which includes this where it needs it"
#endif

#define LA_RING_FEW 64u   /* calls that a look has to suffice for */
#define LA_RING_EMPTY 4u  /* looks that find nothing make a wait of it */
#define LA_RING_MOMENT 16 /* pauses: 0.15 us where one takes 25 cycles, 0.7 where it takes 140 */
#define LA_RING_SLIPS 64  /* moments, one after the other, before a look without one */
#define LA_RING_LEAVE 8   /* looks that might be put off, and are not, after a moment in vain; twice as many after */
#define LA_RING_VAIN 9u   /* the next one in vain, so many times */

static inline void la_ring_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* yield does nothing on most */
#endif
}

/* Fetch a line for writing, before the store that needs it: 30 ns of 160 for 8 bytes. The compiler's own means gives a
   fetch for reading on x86-64, since the oldest of them took this instruction for a no-op. */
static inline void la_ring_own(const void *line)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

static inline void la_ring_put_off(const struct la_ring_side *side)
{
    if (side->slips > 0 && side->empty == 0)
        for (int k = 0; k < LA_RING_MOMENT; k++)
            la_ring_pause();
}

/* Whether the next look is to be put off, after one that found few frames at once. */
static inline void la_ring_next_look(struct la_ring_side *side, uint64_t frames)
{
    if (side->slips <= 0) { /* it was not put off */
        side->slips += 1;
    } else if (frames <= side->usual + side->usual / 4) { /* the moment was in vain */
        side->slips = -(LA_RING_LEAVE << side->vain);
        side->vain += side->vain < LA_RING_VAIN;
    } else {
        side->slips = side->slips < LA_RING_SLIPS ? side->slips + 1 : 0;
        side->vain = 0;
    }
}

/* What a look found, at most `wanted`. */
static inline int64_t la_ring_found(const struct la_ring *ring, struct la_ring_side *side, uint64_t wanted,
                                    int64_t frames)
{
    uint64_t half = ring->capacity / 2, few = wanted < half / LA_RING_FEW ? wanted * LA_RING_FEW : half;
    uint64_t found = (uint64_t)frames;
    if (frames <= 0) {
        side->empty += side->empty < LA_RING_EMPTY;
        return frames;
    }
    if (side->slips <= 0)
        side->usual = found > side->usual ? found : (side->usual + found) / 2;
    if (found < few && side->empty < LA_RING_EMPTY)
        la_ring_next_look(side, found);
    else if (side->slips > 0)
        side->slips = 0;
    side->empty = 0;
    return found < wanted ? frames : (int64_t)wanted;
}

/* Frames that can be written, at most `wanted`, where not enough are known of; or LA_RING_CORRUPTED. */
static LA_RING_APART int64_t la_ring_await_room(struct la_ring *ring, uint64_t wanted)
{
    la_ring_put_off(&ring->writer);
    return la_ring_found(ring, &ring->writer, wanted, la_ring_look_for_room(ring));
}

/* Frames that can be read, likewise. */
static LA_RING_APART int64_t la_ring_await_frames(struct la_ring *ring, uint64_t wanted)
{
    la_ring_put_off(&ring->reader);
    return la_ring_found(ring, &ring->reader, wanted, la_ring_look_for_frames(ring));
}

#endif
