/* The ring for code that has its address and calls C, as what Numba compiles does: with the GIL or without. Nothing here
   takes it, but for the handlers of a signal that ends a sleep. Below zero: LA_RING_CLOSED, LA_RING_CORRUPTED. */
#include "frames.h"
#include "objects.h"
#include "ring_room.h"
#include "ring_slices.h"

static struct frame_format format_of(const struct la_ring *ring)
{
    return (struct frame_format){ring->channels, ring->item_bytes, ring->frame_bytes};
}

static bool lie_in_a_row(const struct frames *frames, const struct frame_format *format)
{
    return frames->frame_stride == (ptrdiff_t)format->frame_bytes &&
           frames->channel_stride == (ptrdiff_t)format->item_bytes;
}

/* Blocks */

int64_t ring_call_write(uintptr_t address, uintptr_t block, uint64_t frames, intptr_t frame_stride,
                        intptr_t channel_stride, int drop)
{
    struct la_ring *ring = la_ring_at(address);
    struct frame_format format = format_of(ring);
    struct frames from = {(char *)block, frame_stride, channel_stride};
    int64_t room = ring_room(ring, frames);
    if (room < 0)
        return room;
    uint64_t taken = (uint64_t)room < frames ? (uint64_t)room : frames;
    char *to = ring->data + ring->writer.position;
    if (lie_in_a_row(&from, &format))
        memmove(to, from.at, taken * format.frame_bytes);
    else
        frames_gather(to, &from, taken, &format);
    ring->writer.window = 0;
    la_ring_commit(ring, taken);
    if (drop && taken < frames)
        la_ring_lose(ring, frames - taken);
    return (int64_t)taken;
}

/* With `fills` the caller fills what is missing, which is counted here unless it is the end. */
int64_t ring_call_read(uintptr_t address, uintptr_t out, uint64_t frames, intptr_t frame_stride,
                       intptr_t channel_stride, int fills)
{
    struct la_ring *ring = la_ring_at(address);
    struct frame_format format = format_of(ring);
    struct frames to = {(char *)out, frame_stride, channel_stride};
    bool closed;
    int64_t held = ring_supply(ring, frames, &closed);
    if (held < 0)
        return held;
    uint64_t taken = (uint64_t)held < frames ? (uint64_t)held : frames;
    const char *from = ring->data + ring->reader.position;
    if (lie_in_a_row(&to, &format))
        memmove(to.at, from, taken * format.frame_bytes);
    else
        frames_scatter(&to, from, taken, &format);
    ring->reader.window = 0;
    la_ring_consume(ring, taken);
    if (fills && taken < frames && !closed)
        la_ring_miss(ring, frames - taken);
    return (int64_t)taken;
}

/* What the ring tells */

uint64_t ring_call_capacity(uintptr_t address)
{
    return la_ring_at(address)->capacity;
}

int64_t ring_call_held(uintptr_t address)
{
    return la_ring_held(la_ring_at(address));
}

int ring_call_closed(uintptr_t address)
{
    return la_ring_ask_closed(la_ring_at(address));
}

void ring_call_close(uintptr_t address)
{
    la_ring_close(la_ring_at(address));
}

/* Waiting */

/* Whether a handler of Python's raised an exception, which is then set. */
static bool handlers_raised(void)
{
    PyGILState_STATE state = PyGILState_Ensure();
    bool raised = PyErr_CheckSignals() < 0;
    PyGILState_Release(state);
    return raised;
}

static int wait_slice(struct la_ring *ring, struct la_ring_side *side, uint64_t n, int64_t until, bool has_gil)
{
    PyThreadState *saved = has_gil ? PyEval_SaveThread() : NULL;
    int state = la_ring_wait(ring, side, n, until);
    if (has_gil)
        PyEval_RestoreThread(saved);
    return state;
}

/* Wait for n frames; `thread` is the thread state that has the GIL, as the caller sees it: compiled code cannot know
   whether it was called with the GIL, and whoever sleeps with it stops the other side. LA_RING_INTERRUPTED: a Python
   exception is set. */
int ring_call_wait(uintptr_t address, int reads, uint64_t n, double seconds, uintptr_t thread)
{
    struct la_ring *ring = la_ring_at(address);
    struct la_ring_side *side = reads ? &ring->reader : &ring->writer;
    int state = la_ring_can(ring, side, n);
    if (state != LA_RING_TIMEOUT)
        return state;
    int64_t until = ring_moment_in(seconds);
    bool has_gil = thread != 0 && thread == (uintptr_t)PyGILState_GetThisThreadState();
    /* Handlers run in the main thread: no other has to ask for the GIL. */
    bool is_main = getpid() == (pid_t)syscall(SYS_gettid);
    while (state == LA_RING_TIMEOUT || state == LA_RING_INTERRUPTED) {
        int64_t latest = is_main ? ring_slice_end(until) : until;
        state = wait_slice(ring, side, n, latest, has_gil);
        if (state == LA_RING_TIMEOUT && latest == until)
            return state;
        if ((state == LA_RING_TIMEOUT || state == LA_RING_INTERRUPTED) && is_main && handlers_raised())
            return LA_RING_INTERRUPTED;
    }
    return state;
}
