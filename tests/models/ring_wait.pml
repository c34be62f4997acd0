/* The waits of lockedarray/ring_wait.h: two sides of a ring, each with a store buffer from which the stores to one
   word come in order, and those to different words in any order, but for a release: it comes after what it publishes.
   That is weaker than x86. Loads stay where they are; what acquires are for, test_ring_native.py shows.

       spin -a ring_wait.pml && cc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m100000

   Wrong is what pan calls an invalid end state: a side sleeps for ever. A sleep ends by itself only if the other side
   had not been seen to look. Wrong is, too, a frame that is not the one that was written, and a wait that gives up
   while the frames are there. Each of these leaves something out, and must be found: -DNO_WAKER_FENCE=W (or R),
   NO_SLEEPER_FENCE, NO_CLOSER_FENCE likewise; -DNO_INDEX_RELEASE, NO_CLOSE_RELEASE, CLOSED_AFTER_INDEX; and ONE_SLEEP,
   which trusts in being woken without having been seen. */

#ifndef CAPACITY
#define CAPACITY 1
#endif
#ifndef FRAMES
#define FRAMES 3
#endif
#ifndef WRITER_BLOCK /* at most; both together at most CAPACITY + 1, or each may wait for the other with good reason */
#define WRITER_BLOCK 1
#endif
#ifndef READER_BLOCK
#define READER_BLOCK 1
#endif

/* Words of the header; each is stored by one side (SLEEPS also by exchange, which is not buffered). */
#define W 0
#define R 1
#define OTHER(side) (1 - (side))
#define INDEX(side) (side)
#define WAITS(side) (2 + (side))
#define WANTS(side) (4 + (side))
#define SLEEPS(side) (6 + (side))
#define LOOKS(side) (8 + (side))
#define CLOSED(side) (10 + (side)) /* one word in the header: both would store the same */
#define SLOT(frame) (12 + (frame) % CAPACITY)
#define WORDS 14
#define EMPTY 255

#define NOBODY 2
#ifndef NO_WAKER_FENCE
#define NO_WAKER_FENCE NOBODY
#endif
#ifndef NO_SLEEPER_FENCE
#define NO_SLEEPER_FENCE NOBODY
#endif
#ifndef NO_CLOSER_FENCE
#define NO_CLOSER_FENCE NOBODY
#endif

byte memory[WORDS];
byte next[WORDS] = EMPTY;  /* the store buffers: the oldest store to each word */
byte after[WORDS] = EMPTY; /* and the one behind it */
bool asleep[2];

#define DRAINED(side) \
    (next[INDEX(side)] == EMPTY && next[WAITS(side)] == EMPTY && next[WANTS(side)] == EMPTY && \
     next[SLEEPS(side)] == EMPTY && next[LOOKS(side)] == EMPTY && next[CLOSED(side)] == EMPTY && \
     (side == R || next[SLOT(0)] == EMPTY && next[SLOT(CAPACITY - 1)] == EMPTY))

inline store(word, value)
{
    atomic {
        after[word] == EMPTY;
        if
        :: next[word] == EMPTY -> next[word] = value
        :: else -> after[word] = value
        fi
    }
}

inline drain(word)
{
    d_step { memory[word] = next[word]; next[word] = after[word]; after[word] = EMPTY }
}

/* A release: no store before it is still in the buffer. Frame k is the number k + 1, so that its slot tells whether it
   belongs before an index. */
#ifdef NO_INDEX_RELEASE
#define INDEX_MAY_DRAIN true
#else
#define INDEX_MAY_DRAIN (next[SLOT(0)] > next[INDEX(W)] && next[SLOT(CAPACITY - 1)] > next[INDEX(W)])
#endif
#ifdef NO_CLOSE_RELEASE
#define CLOSE_MAY_DRAIN(side) true
#else
#define CLOSE_MAY_DRAIN(side) (next[INDEX(side)] == EMPTY)
#endif

active proctype buffers()
{
end:
    do
    :: next[INDEX(W)] != EMPTY && INDEX_MAY_DRAIN -> drain(INDEX(W))
    :: next[INDEX(R)] != EMPTY -> drain(INDEX(R))
    :: next[WAITS(W)] != EMPTY -> drain(WAITS(W))
    :: next[WAITS(R)] != EMPTY -> drain(WAITS(R))
    :: next[WANTS(W)] != EMPTY -> drain(WANTS(W))
    :: next[WANTS(R)] != EMPTY -> drain(WANTS(R))
    :: next[SLEEPS(W)] != EMPTY -> drain(SLEEPS(W))
    :: next[SLEEPS(R)] != EMPTY -> drain(SLEEPS(R))
    :: next[LOOKS(W)] != EMPTY -> drain(LOOKS(W))
    :: next[LOOKS(R)] != EMPTY -> drain(LOOKS(R))
    :: next[CLOSED(W)] != EMPTY && CLOSE_MAY_DRAIN(W) -> drain(CLOSED(W))
    :: next[CLOSED(R)] != EMPTY && CLOSE_MAY_DRAIN(R) -> drain(CLOSED(R))
    :: next[SLOT(0)] != EMPTY -> drain(SLOT(0))
#if CAPACITY > 1
    :: next[SLOT(1)] != EMPTY -> drain(SLOT(1))
#endif
    od
}

/* la_ring_rouse: the exchange, and then the system call. */
inline rouse(side)
{
    atomic { was = memory[SLEEPS(side)]; memory[SLEEPS(side)] = 0 }
    if
    :: was != 0 -> asleep[side] = false
    :: else
    fi
}

/* la_ring_tell_reader, _tell_writer, after the index was stored */
inline tell(me)
{
    if
    :: memory[WAITS(OTHER(me))] == 0
    :: memory[WAITS(OTHER(me))] != 0 ->
        me == NO_WAKER_FENCE || DRAINED(me);
        if
        :: !looks -> store(LOOKS(me), 1); looks = true /* again would be the same */
        :: else
        fi;
        if
        :: memory[SLEEPS(OTHER(me))] == 0
        :: memory[SLEEPS(OTHER(me))] != 0 ->
            if
            :: index < memory[WANTS(OTHER(me))]
            :: index >= memory[WANTS(OTHER(me))] -> rouse(OTHER(me))
            fi
        fi
    fi
}

/* la_ring_close by one side: it wakes the other */
inline close(me)
{
    store(CLOSED(me), 1);
    me == NO_CLOSER_FENCE || DRAINED(me);
    if
    :: memory[SLEEPS(OTHER(me))] == 0
    :: memory[SLEEPS(OTHER(me))] != 0 -> rouse(OTHER(me))
    fi
}

/* What a side may do: la_ring_can_read loads `closed` first, la_ring_can_write last. */
#define NOT_YET 0
#define READY 1
#define NEVER 2
#define BIAS(me) ((me) == W -> CAPACITY : 0)
#define ENOUGH(me) (memory[INDEX(OTHER(me))] + BIAS(me) >= index + n)
#define IS_CLOSED (memory[CLOSED(W)] || memory[CLOSED(R)])

inline can(me)
{
#ifdef CLOSED_AFTER_INDEX
    atomic { state = (ENOUGH(me) -> READY : NOT_YET) }
    atomic { state = (IS_CLOSED && (me == W || state == NOT_YET) -> NEVER : state); closed = 0 }
#else
    if
    :: me == R ->
        closed = IS_CLOSED;
        atomic { state = (ENOUGH(me) -> READY : (closed -> NEVER : NOT_YET)); closed = 0 }
    :: me == W ->
        state = (ENOUGH(me) -> READY : NOT_YET);
        state = (IS_CLOSED -> NEVER : state)
    fi
#endif
}

/* la_ring_wait for n frames */
inline wait(me)
{
    can(me);
    do
    :: state != NOT_YET -> break
    :: state == NOT_YET ->
        seen = memory[LOOKS(OTHER(me))];
#ifdef ONE_SLEEP
        seen = 1;
#endif
        if
        :: !waits -> store(WAITS(me), 1); waits = true
        :: else
        fi;
        store(WANTS(me), index + n - BIAS(me));
        store(SLEEPS(me), 1);
        me == NO_SLEEPER_FENCE || DRAINED(me);
        can(me);
        if
        :: state == NOT_YET ->
            /* futex wait: the kernel has a fence of its own before it compares the word */
            atomic {
                DRAINED(me);
                if
                :: memory[SLEEPS(me)] == 1 -> asleep[me] = true
                :: else
                fi
            }
            if
            :: !asleep[me]
            :: atomic {
                asleep[me] && !seen -> asleep[me] = false; /* a millisecond is over */
                if
                :: true
                :: n > 1 -> n = 1 /* and the timeout, too: the next wait is for less */
                fi
            }
            fi;
            can(me)
        :: else
        fi;
        store(SLEEPS(me), 0);
        seen = 0
    od
}

bool closes[2]; /* who closes the ring, if anybody */

init
{
    atomic {
        if
        :: closes[W] = true
        :: closes[R] = true
        :: true
        fi;
        run writer();
        run reader()
    }
}

proctype writer()
{
    byte index, n, k, state, seen, was, closed;
    bool waits, looks;

    do
    :: index == FRAMES -> break
    :: index < FRAMES ->
        if
        :: n = 1
#if WRITER_BLOCK > 1
        :: index + 2 <= FRAMES -> n = 2
#endif
        fi;
        wait(W);
        if
        :: state == NEVER -> goto done
        :: else
        fi;
        k = 0;
        do
        :: k == n -> break
        :: k < n ->
            store(SLOT(index + k), index + k + 1);
            k++
        od;
        atomic { index = index + n; k = 0; state = 0 }
        store(INDEX(W), index);
        tell(W);
        was = 0
    od;
    if
    :: closes[W] -> close(W)
    :: else
    fi;
done:
    skip
}

proctype reader()
{
    byte index, n, k, state, seen, was, closed;
    bool waits, looks;

    do
    :: index == FRAMES && !closes[W] -> break
    :: index > 0 && closes[R] -> close(R); break
    :: index < FRAMES || closes[W] -> /* beyond the last frame: until the close */
        if
        :: n = 1
#if READER_BLOCK > 1
        :: index + 2 <= FRAMES || closes[W] -> n = 2
#endif
        fi;
        wait(R);
        if
        :: state == NEVER ->
            k = memory[INDEX(W)] - index; /* the rest */
            assert(closes[W] && index + k == FRAMES && k < n);
            n = k
        :: else
        fi;
        k = 0;
        do
        :: k == n -> break
        :: k < n ->
            assert(memory[SLOT(index + k)] == index + k + 1);
            k++
        od;
        if
        :: state == NEVER -> break
        :: else
        fi;
        atomic { index = index + n; k = 0; state = 0 }
        store(INDEX(R), index);
        tell(R);
        was = 0
    od
}
