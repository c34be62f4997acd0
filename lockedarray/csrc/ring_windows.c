/* Windows: a ring's own memory, lent to Python as one contiguous array. Each is a new array, so that what a caller
   does to one never reaches the next. */
#include "ring_objects.h"

PyObject *ring_write_window(PyObject *object, PyObject *n)
{
    struct ring_object *self = ring_object_of(object);
    struct la_ring *ring = self->ring;
    size_t wanted;
    if (ring_take_count(n, "n", &wanted) < 0)
        return NULL;
    int64_t writable = ring_room(self->ring, wanted);
    if (writable < 0)
        return ring_raise(writable);
    size_t frames = wanted < (size_t)writable ? wanted : (size_t)writable;
    PyObject *window = ring_new_block(self, frames, ring->data + ring->writer.position, true);
    if (window != NULL)
        ring->writer.window = frames;
    return window;
}

PyObject *ring_read_window(PyObject *object, PyObject *n)
{
    struct ring_object *self = ring_object_of(object);
    struct la_ring *ring = self->ring;
    size_t wanted;
    bool closed;
    if (ring_take_count(n, "n", &wanted) < 0)
        return NULL;
    int64_t readable = ring_supply(self->ring, wanted, &closed);
    if (readable < 0)
        return ring_raise(readable);
    size_t frames = wanted < (size_t)readable ? wanted : (size_t)readable;
    PyObject *window = ring_new_block(self, frames, ring->data + ring->reader.position, false);
    if (window != NULL)
        ring->reader.window = frames;
    return window;
}

/* Take k frames off an open window, which ends where another process became this side. */
static int close_window(const struct la_ring *ring, struct la_ring_side *side, const uint64_t *id, PyObject *k,
                        const char *window, size_t *frames)
{
    if (ring_take_count(k, "k", frames) < 0)
        return -1;
    if (side->window > 0 && !la_ring_is(ring, side, id)) {
        PyErr_Format(PyExc_ValueError, "the %s has ended: another process has become the %s since", window,
                     side == &ring->reader ? "reader" : "writer");
        side->window = 0;
        return -1;
    }
    if (*frames > side->window) {
        PyErr_Format(PyExc_ValueError, "k is %zu, and the open %s has %zu frames", *frames, window,
                     (size_t)side->window);
        return -1;
    }
    side->window -= *frames;
    return 0;
}

PyObject *ring_commit(PyObject *object, PyObject *k)
{
    struct la_ring *ring = ring_object_of(object)->ring;
    size_t frames;
    if (la_ring_is_closed(ring))
        return ring_raise(LA_RING_CLOSED);
    if (close_window(ring, &ring->writer, &ring->shared->writer_id, k, "write_window", &frames) < 0)
        return NULL;
    la_ring_commit(ring, frames);
    Py_RETURN_NONE;
}

PyObject *ring_consume(PyObject *object, PyObject *k)
{
    struct la_ring *ring = ring_object_of(object)->ring;
    size_t frames;
    if (close_window(ring, &ring->reader, &ring->shared->reader_id, k, "read_window", &frames) < 0)
        return NULL;
    la_ring_consume(ring, frames);
    Py_RETURN_NONE;
}
