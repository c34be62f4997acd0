/* How a ring is made, in memory of its own, of a pool's, or in the file of somebody else's ring. */
#include "mirror.h"
#include "pool_objects.h"
#include "region_objects.h"
#include "ring_objects.h"

#include <errno.h>
#include <string.h>

/* The text of a dtype ends with the smallest page. */
#define DTYPE_ROOM (4096 - LA_RING_DTYPE)

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

static int take_positive(PyObject *object, const char *name, size_t *count)
{
    if (ring_take_count(object, name, count) == 0 && *count > 0)
        return 0;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "%s must be at least 1, not 0", name);
    return -1;
}

static int check_dtype(PyArray_Descr *descr)
{
    const char *trouble = NULL;
    if (PyDataType_REFCHK(descr))
        trouble = "holds references to objects outside of the ring: locking the ring would not lock them";
    else if (PyDataType_HASSUBARRAY(descr))
        trouble = "is an array itself: take its element as the dtype, and channels for its length";
    else if (PyDataType_ELSIZE(descr) == 0)
        trouble = "has no bytes";
    if (trouble != NULL)
        PyErr_Format(PyExc_TypeError, "dtype %R %s", (PyObject *)descr, trouble);
    return trouble == NULL ? 0 : -1;
}

static int measure(PyObject *capacity, PyObject *channels, struct ring_request *request)
{
    size_t frames, nbytes;
    request->columns = channels != Py_None;
    request->format.channels = 1;
    request->format.item_bytes = (size_t)PyDataType_ELSIZE(request->descr);
    if (take_positive(capacity, "capacity", &frames) < 0 ||
        (request->columns && take_positive(channels, "channels", &request->format.channels) < 0))
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

/* Somebody else's file. Its header may say anything, at any time: it is read once, into our own memory, and compared
   with what cannot be changed, the file's sealed size. */

static const char *distrust(int fd, struct la_ring_shared *header)
{
    size_t bytes;
    int error = os_check_sealed(fd, &bytes);
    if (error == -EINVAL)
        return "it is not sealed against shrinking and growing";
    if (error == 0)
        error = os_read_file(fd, header, sizeof *header);
    if (error == -EIO)
        return "it is too short";
    if (error < 0) {
        errno = -error;
        return "";
    }
    size_t page = os_page(), needed;
    if (header->magic != LA_RING_MAGIC)
        return "it does not begin as one";
    if (header->version != LA_RING_VERSION)
        return "it is of another version";
    if (header->page_bytes != page)
        return "it was made with pages of another size";
    if (bytes <= page || bytes % page != 0 || header->data_bytes != bytes - page)
        return "its header and its size do not agree";
    if (header->capacity == 0 || header->frame_bytes == 0 ||
        __builtin_mul_overflow(header->capacity, header->frame_bytes, &needed) || needed > header->data_bytes ||
        header->frame_bytes != (uint64_t)header->item_bytes * (header->channels == 0 ? 1 : header->channels))
        return "its frames do not fit into it";
    if (header->dtype_length == 0 || header->dtype_length > DTYPE_ROOM)
        return "it does not name its dtype";
    return NULL;
}

static int trust(int fd, struct la_ring_shared *header)
{
    const char *trouble = distrust(fd, header);
    if (trouble == NULL)
        return 0;
    if (*trouble == '\0')
        PyErr_SetFromErrno(PyExc_OSError);
    else
        PyErr_Format(PyExc_ValueError, "descriptor %d is not that of a ring: %s", fd, trouble);
    return -1;
}

/* ring_describe(fd) -> capacity, channels or None, bytes of an item, text of the dtype */
PyObject *ring_describe(PyObject *Py_UNUSED(module), PyObject *descriptor)
{
    struct la_ring_shared header;
    char page[LA_RING_DTYPE + DTYPE_ROOM];
    int fd = PyObject_AsFileDescriptor(descriptor);
    if (fd < 0 || trust(fd, &header) < 0)
        return NULL;
    int error = os_read_file(fd, page, sizeof page);
    if (error < 0)
        return raise_refused("pread", error, sizeof page);
    PyObject *text = PyBytes_FromStringAndSize(page + LA_RING_DTYPE, header.dtype_length);
    PyObject *channels = header.channels == 0 ? Py_NewRef(Py_None) : PyLong_FromUnsignedLong(header.channels);
    if (text == NULL || channels == NULL) {
        Py_XDECREF(text);
        Py_XDECREF(channels);
        return NULL;
    }
    return Py_BuildValue("KNIN", (unsigned long long)header.capacity, channels, header.item_bytes, text);
}

/* The file: a new one, or somebody else's, opened anew so that it is ours alone. */
static int open_file(const struct ring_request *request)
{
    struct failure failure = {"open", 0};
    struct la_ring_shared header;
    if (request->fd < 0) {
        int fd = mirror_file(request->data_bytes, &failure);
        if (fd < 0)
            raise_refused(failure.call, failure.error, request->data_bytes);
        return fd;
    }
    int fd = os_reopen(request->fd);
    if (fd < 0) {
        raise_refused("open of the ring's file through /proc/self/fd", fd, 0);
        return -1;
    }
    if (trust(fd, &header) == 0) {
        if (header.capacity == request->capacity && header.frame_bytes == request->format.frame_bytes &&
            header.data_bytes == request->data_bytes)
            return fd;
        PyErr_SetString(errors.ring_corrupted, "the ring's header changed while it was read");
    }
    os_close(fd);
    return -1;
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

static void write_header(struct la_ring_shared *shared, const struct ring_request *request)
{
    shared->version = LA_RING_VERSION;
    shared->page_bytes = (uint32_t)os_page();
    shared->capacity = request->capacity;
    shared->data_bytes = request->data_bytes;
    shared->frame_bytes = request->format.frame_bytes;
    shared->item_bytes = (uint32_t)request->format.item_bytes;
    shared->channels = request->columns ? (uint32_t)request->format.channels : 0;
    shared->dtype_length = (uint32_t)request->dtype_length;
    memcpy((char *)shared + LA_RING_DTYPE, request->dtype_text, (size_t)request->dtype_length);
    shared->magic = LA_RING_MAGIC;
}

/* In the private page, which is all zeros. */
static struct la_ring *set_up(uintptr_t memory, const struct ring_request *request)
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
        write_header(ring->shared, request);
    return ring;
}

static struct ring_object *make(PyTypeObject *type, const struct ring_request *request)
{
    int fd = open_file(request);
    if (fd < 0)
        return NULL;
    PyObject *region = make_region(request, fd);
    struct ring_object *self = region == NULL ? NULL : (struct ring_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(region);
        os_close(fd);
        return NULL;
    }
    self->ring = set_up(region_start(region), request);
    self->region = region;
    self->descr = (PyArray_Descr *)Py_NewRef((PyObject *)request->descr);
    self->format = request->format;
    self->columns = request->columns;
    self->events[0] = self->events[1] = -1;
    int error = presence_begin(&self->presence, self->ring, fd);
    self->present = error == 0;
    if (error == 0)
        return self;
    raise_refused("fcntl(F_OFD_SETLK)", error, 0);
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
        /* Whoever polls is not woken every millisecond, as a sleeper is until it was seen: both sides look at once. */
        self->ring->shared->reader_waits = self->ring->shared->writer_waits = 1;
    } else {
        if (!PyArg_ParseTuple(events, "ii", &given[0], &given[1]))
            return -1;
        for (int k = 0; k < 2; k++)
            if ((self->events[k] = os_duplicate(given[k])) < 0) {
                raise_refused("dup", self->events[k], 0);
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
    if (!PyArg_ParseTuple(args, "OOO&y#OIiO:Ring", &capacity, &channels, PyArray_DescrConverter, &request.descr,
                          &request.dtype_text, &request.dtype_length, &request.pool, &request.flags, &request.fd,
                          &events))
        return NULL;
    if (request.dtype_length > (Py_ssize_t)DTYPE_ROOM)
        request.dtype_length = 0; /* it cannot travel by its descriptor */
    struct ring_object *self = NULL;
    if (check_dtype(request.descr) == 0 && measure(capacity, channels, &request) == 0)
        self = make(type, &request);
    if (self != NULL && take_events(self, events) < 0)
        Py_CLEAR(self);
    Py_DECREF((PyObject *)request.descr);
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
