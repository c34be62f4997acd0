/* How a history is made, in memory of its own or in the file of somebody else's. */
#include "history_objects.h"
#include "mirror.h"
#include "region_objects.h"
#include "shared_file.h"

/* What is asked for, in numbers that have been checked. */
struct history_request {
    PyArray_Descr *descr;
    struct la_history_format format;
    size_t frames, data_bytes;
    bool columns;
    unsigned flags;
    const char *dtype_text; /* for the header */
    Py_ssize_t dtype_length;
    int fd;                 /* of somebody else's history, or -1 */
};

/* Bytes of data for so many frames, in whole pages; false where that overflows. Twice the frames, so that a view of all
   of them lasts a while; and 4 at least, so that a reader of the newest value is not overtaken by the next. */
static bool measure_data(size_t frames, size_t frame_bytes, size_t *data_bytes)
{
    size_t held, nbytes;
    if (__builtin_mul_overflow(frames < 2 ? 2 : frames, 2, &held) ||
        __builtin_mul_overflow(held, frame_bytes, &nbytes) || nbytes > PY_SSIZE_T_MAX / 4)
        return false;
    *data_bytes = region_pages(nbytes);
    return *data_bytes > 0;
}

static bool fits(uint64_t frames, uint64_t frame_bytes, uint64_t data_bytes)
{
    size_t needed;
    return measure_data(frames, frame_bytes, &needed) && needed == data_bytes;
}

static const struct shared_kind kind = {
    .name = "history",
    .open_call = "open of the history's file through /proc/self/fd",
    .magic = LA_HISTORY_MAGIC,
    .version = LA_HISTORY_VERSION,
    .fits = fits,
};
_Static_assert(offsetof(struct shared_header, dtype_length) == offsetof(struct la_history_shared, dtype_length) &&
               SHARED_DTYPE == LA_HISTORY_DTYPE, "the headers begin alike");
_Static_assert(sizeof(struct la_history) <= 4096 && sizeof(struct la_history_shared) <= LA_HISTORY_DTYPE,
               "in the smallest pages");

static int measure(PyObject *frames, PyObject *channels, struct history_request *request)
{
    request->columns = channels != Py_None;
    request->format.channels = 1;
    request->format.item_bytes = (size_t)PyDataType_ELSIZE(request->descr);
    if (shared_take_positive(frames, "frames", &request->frames) < 0 ||
        (request->columns && shared_take_positive(channels, "channels", &request->format.channels) < 0))
        return -1;
    if (__builtin_mul_overflow(request->format.channels, request->format.item_bytes, &request->format.frame_bytes) ||
        request->format.channels > UINT32_MAX ||
        !measure_data(request->frames, request->format.frame_bytes, &request->data_bytes)) {
        PyErr_SetString(PyExc_ValueError, "the history is too big: four times its bytes cannot be addressed");
        return -1;
    }
    return 0;
}

/* history_describe(fd) -> frames, channels or None, bytes of an item, text of the dtype */
PyObject *history_describe(PyObject *Py_UNUSED(module), PyObject *descriptor)
{
    return shared_describe(&kind, descriptor);
}

static struct shared_header header_for(const struct history_request *request)
{
    return (struct shared_header){
        .frames = request->frames,
        .data_bytes = request->data_bytes,
        .frame_bytes = request->format.frame_bytes,
        .item_bytes = (uint32_t)request->format.item_bytes,
        .channels = request->columns ? (uint32_t)request->format.channels : 0,
        .dtype_length = (uint32_t)request->dtype_length,
    };
}

/* In the private page, which is all zeros. */
static struct la_history *set_up(uintptr_t memory, const struct history_request *request,
                                 const struct shared_header *header)
{
    struct la_history *history = la_history_at(memory);
    history->shared = (struct la_history_shared *)mirror_shared_page(memory);
    history->data = (char *)mirror_data(memory);
    history->frames = request->frames;
    history->memory_frames = request->data_bytes / request->format.frame_bytes;
    /* Small against what a reader is ahead of the writer, and at least one. */
    history->piece = (history->memory_frames - history->frames) / 4;
    history->piece += history->piece == 0;
    history->data_bytes = request->data_bytes;
    history->format = request->format;
    if (request->fd < 0)
        shared_write_header(history->shared, &kind, header, request->dtype_text);
    return history;
}

static PyObject *make(PyTypeObject *type, const struct history_request *request)
{
    struct shared_header header = header_for(request);
    int fd = shared_open(&kind, &header, request->fd);
    if (fd < 0)
        return NULL;
    struct region_request memory = {
        .nbytes = request->data_bytes,
        .mirrored = true,
        .fd = fd,
        .unlocked = request->flags & REGION_UNLOCKED,
    };
    PyObject *region = region_make(&memory, mirror_bytes(request->data_bytes));
    struct history_object *self = region == NULL ? NULL : (struct history_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(region);
        os_close(fd);
        return NULL;
    }
    self->history = set_up(region_start(region), request, &header);
    self->region = region;
    self->descr = (PyArray_Descr *)Py_NewRef((PyObject *)request->descr);
    self->columns = request->columns;
    self->named = request->dtype_length > 0;
    self->fd = fd;
    return (PyObject *)self;
}

/* History(frames, channels, dtype, text of the dtype, flags, fd or -1) */
PyObject *history_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *frames, *channels, *self = NULL;
    struct history_request request = {0};
    if (!PyArg_ParseTuple(args, "OOO!y#Ii:History", &frames, &channels, &PyArrayDescr_Type, &request.descr,
                          &request.dtype_text, &request.dtype_length, &request.flags, &request.fd))
        return NULL;
    if (request.dtype_length > SHARED_DTYPE_ROOM)
        request.dtype_length = 0; /* it cannot travel by its descriptor */
    if (shared_check_dtype(&kind, request.descr) == 0 && measure(frames, channels, &request) == 0)
        self = make(type, &request);
    return self;
}

void history_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    struct history_object *self = history_object_of(object);
    os_close(self->fd);
    Py_XDECREF(self->region);
    Py_XDECREF((PyObject *)self->descr);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}
