/* How a ring is made, in memory of its own, of a pool's, or in the file of somebody else's ring. */
#include "mirror.h"
#include "pool_objects.h"
#include "region_objects.h"
#include "ring_objects.h"
#include "shared_file.h"

#include <errno.h>

/* What is asked for, in numbers that have been checked. */
struct ring_request {
    PyArray_Descr *descr;
    struct frame_format format;
    uint64_t capacity;
    size_t data_bytes;
    bool columns;
    unsigned flags;
    PyObject *pool;         /* or None */
    const char *dtype_text; /* for the header */
    Py_ssize_t dtype_length;
    int fd;                 /* of somebody else's ring, or -1 */
};

static bool fits(uint64_t capacity, uint64_t frame_bytes, uint64_t data_bytes)
{
    uint64_t needed;
    return !__builtin_mul_overflow(capacity, frame_bytes, &needed) && region_pages(needed) == data_bytes;
}

static const struct shared_kind kind = {
    .name = "ring",
    .open_call = "open of the ring's file through /proc/self/fd",
    .magic = LA_RING_MAGIC,
    .version = LA_RING_VERSION,
    .fits = fits,
};
_Static_assert(offsetof(struct shared_header, dtype_length) == offsetof(struct la_ring_shared, dtype_length) &&
               SHARED_DTYPE == LA_RING_DTYPE, "the headers begin alike");
_Static_assert(sizeof(struct la_ring) <= 4096 && sizeof(struct la_ring_shared) <= LA_RING_DTYPE, "in the smallest pages");

static int measure(PyObject *capacity, PyObject *channels, struct ring_request *request)
{
    size_t frames, nbytes;
    request->columns = channels != Py_None;
    request->format.channels = 1;
    request->format.item_bytes = (size_t)PyDataType_ELSIZE(request->descr);
    if (shared_take_positive(capacity, "capacity", &frames) < 0 ||
        (request->columns && shared_take_positive(channels, "channels", &request->format.channels) < 0))
        return -1;
    request->capacity = frames;
    if (__builtin_mul_overflow(request->format.channels, request->format.item_bytes, &request->format.frame_bytes) ||
        __builtin_mul_overflow(frames, request->format.frame_bytes, &nbytes) ||
        (request->data_bytes = region_pages(nbytes)) == 0 || mirror_bytes(request->data_bytes) > PY_SSIZE_T_MAX ||
        request->format.channels > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "the ring is too big: twice its bytes are more than can be addressed");
        return -1;
    }
    return 0;
}

/* ring_describe(fd) -> capacity, channels or None, bytes of an item, text of the dtype */
PyObject *ring_describe(PyObject *Py_UNUSED(module), PyObject *descriptor)
{
    return shared_describe(&kind, descriptor);
}

static struct shared_header header_for(const struct ring_request *request)
{
    return (struct shared_header){
        .frames = request->capacity,
        .data_bytes = request->data_bytes,
        .frame_bytes = request->format.frame_bytes,
        .item_bytes = (uint32_t)request->format.item_bytes,
        .channels = request->columns ? (uint32_t)request->format.channels : 0,
        .dtype_length = (uint32_t)request->dtype_length,
    };
}

static PyObject *make_region(const struct ring_request *request, int fd)
{
    if (request->pool != Py_None)
        return region_of_pool(request->pool, request->data_bytes, fd);
    struct region_request memory = {
        .nbytes = request->data_bytes,
        .mirrored = true,
        .fd = fd,
        .unlocked = request->flags & REGION_UNLOCKED,
    };
    return region_make(&memory, mirror_bytes(request->data_bytes));
}

/* In the private page, which is all zeros. */
static struct la_ring *set_up(uintptr_t memory, const struct ring_request *request,
                              const struct shared_header *header)
{
    struct la_ring *ring = la_ring_at(memory);
    ring->shared = (struct la_ring_shared *)mirror_shared_page(memory);
    ring->data = (char *)mirror_data(memory);
    ring->capacity = request->capacity;
    ring->frame_bytes = request->format.frame_bytes;
    ring->item_bytes = request->format.item_bytes;
    ring->channels = request->format.channels;
    ring->data_bytes = request->data_bytes;
    ring->fd = ring->writer.event = ring->reader.event = -1;
    if (request->fd < 0)
        shared_write_header(ring->shared, &kind, header, request->dtype_text);
    return ring;
}

static struct ring_object *make(PyTypeObject *type, const struct ring_request *request)
{
    struct shared_header header = header_for(request);
    int fd = shared_open(&kind, &header, request->fd);
    if (fd < 0)
        return NULL;
    PyObject *region = make_region(request, fd);
    struct ring_object *self = region == NULL ? NULL : (struct ring_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(region);
        os_close(fd);
        return NULL;
    }
    self->ring = set_up(region_start(region), request, &header);
    self->region = region;
    self->descr = (PyArray_Descr *)Py_NewRef((PyObject *)request->descr);
    self->format = request->format;
    self->columns = request->columns;
    self->named = request->dtype_length > 0;
    self->events[0] = self->events[1] = -1;
    struct failure failure;
    self->present = presence_begin(&self->presence, self->ring, fd, &failure) == 0;
    if (self->present)
        return self;
    raise_refused(failure.call, failure.error, 0);
    Py_DECREF((PyObject *)self);
    return NULL;
}

/* New eventfds, or those that came with somebody else's ring, which become ours. */
static int take_events(struct ring_object *self, PyObject *events)
{
    int given[2];
    if (events == Py_None)
        return 0;
    if (events == Py_True) {
        for (int k = 0; k < 2; k++)
            if ((self->events[k] = os_event()) < 0) {
                raise_refused("eventfd", self->events[k], 0);
                return -1;
            }
    } else {
        if (!PyArg_ParseTuple(events, "ii", &given[0], &given[1]))
            return -1;
        for (int k = 0; k < 2; k++)
            if ((self->events[k] = os_duplicate(given[k])) < 0) {
                if (self->events[k] == -EINVAL)
                    PyErr_Format(PyExc_ValueError, "eventfds: descriptor %d is none of a ring's: it can block",
                                 given[k]);
                else
                    raise_refused("taking over an eventfd", self->events[k], 0);
                return -1;
            }
    }
    self->ring->reader.event = self->events[0];
    self->ring->writer.event = self->events[1];
    return 0;
}

/* Ring(capacity, channels, dtype, text of the dtype, pool or None, flags, fd or -1, events) */
PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *capacity, *channels, *events;
    struct ring_request request = {0};
    if (!PyArg_ParseTuple(args, "OOO!y#OIiO:Ring", &capacity, &channels, &PyArrayDescr_Type, &request.descr,
                          &request.dtype_text, &request.dtype_length, &request.pool, &request.flags, &request.fd,
                          &events))
        return NULL;
    if (request.dtype_length > SHARED_DTYPE_ROOM)
        request.dtype_length = 0; /* it cannot travel by its descriptor */
    struct ring_object *self = NULL;
    if (shared_check_dtype(&kind, request.descr) == 0 && measure(capacity, channels, &request) == 0)
        self = make(type, &request);
    if (self != NULL && take_events(self, events) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

void ring_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    struct ring_object *self = ring_object_of(object);
    if (self->present)
        presence_end(&self->presence);
    for (int k = 0; k < 2; k++)
        if (self->events[k] >= 0)
            os_close(self->events[k]);
    Py_XDECREF(self->region);
    Py_XDECREF((PyObject *)self->descr);
    Py_XDECREF(self->taken.object);
    Py_XDECREF(self->got.object);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}
