#include "shared_file.h"

#include "mirror.h"
#include "region.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int shared_take_positive(PyObject *object, const char *name, size_t *count)
{
    Py_ssize_t value = PyNumber_AsSsize_t(object, PyExc_ValueError);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value < 1) {
        PyErr_Format(PyExc_ValueError, "%s must be at least 1, not %zd", name, value);
        return -1;
    }
    *count = (size_t)value;
    return 0;
}

int shared_check_dtype(const struct shared_kind *kind, PyArray_Descr *descr)
{
    if (PyDataType_REFCHK(descr))
        PyErr_Format(PyExc_TypeError, "dtype %R holds references to objects outside of the %s: locking the %s would "
                                      "not lock them", (PyObject *)descr, kind->name, kind->name);
    else if (PyDataType_HASSUBARRAY(descr))
        PyErr_Format(PyExc_TypeError, "dtype %R is an array itself: take its element as the dtype, and channels for "
                                      "its length", (PyObject *)descr);
    else if (PyDataType_ELSIZE(descr) == 0)
        PyErr_Format(PyExc_TypeError, "dtype %R has no bytes", (PyObject *)descr);
    else
        return 0;
    return -1;
}

/* Somebody else's header may say anything, at any time: it is read once, into our own memory, and compared with what
   cannot be changed, the file's sealed size. */
static const char *distrust(const struct shared_kind *kind, int fd, struct shared_header *header, int *error)
{
    size_t bytes;
    *error = os_check_sealed(fd, &bytes);
    if (*error == -EINVAL)
        return "it is not sealed against shrinking and growing";
    if (*error == 0)
        *error = os_read_file(fd, header, sizeof *header);
    if (*error == -EIO)
        return "it is too short";
    if (*error < 0)
        return "the kernel refuses it";
    size_t page = os_page();
    if (header->magic != kind->magic)
        return "it does not begin as one";
    if (header->version != kind->version)
        return "it is of another version";
    if (header->page_bytes != page)
        return "it was made with pages of another size";
    if (bytes <= page || bytes % page != 0 || header->data_bytes != bytes - page)
        return "its header and its size do not agree";
    if (header->frames == 0 || header->frame_bytes == 0 ||
        header->frame_bytes != (uint64_t)header->item_bytes * (header->channels == 0 ? 1 : header->channels) ||
        !kind->fits(header->frames, header->frame_bytes, header->data_bytes))
        return "its frames do not fit into it";
    if (header->dtype_length == 0 || header->dtype_length > SHARED_DTYPE_ROOM)
        return "it does not name its dtype";
    return NULL;
}

static int trust(const struct shared_kind *kind, int fd, struct shared_header *header)
{
    int error;
    const char *trouble = distrust(kind, fd, header, &error);
    if (trouble == NULL)
        return 0;
    if (error < 0 && error != -EINVAL && error != -EIO) {
        char call[64];
        snprintf(call, sizeof call, "a look at descriptor %d", fd);
        raise_refused(call, error, 0);
    } else
        PyErr_Format(PyExc_ValueError, "descriptor %d is not that of a %s: %s", fd, kind->name, trouble);
    return -1;
}

PyObject *shared_describe(const struct shared_kind *kind, PyObject *descriptor)
{
    struct shared_header header;
    char page[SHARED_DTYPE + SHARED_DTYPE_ROOM];
    int fd = PyObject_AsFileDescriptor(descriptor);
    if (fd < 0 && PyErr_ExceptionMatches(PyExc_OverflowError))
        PyErr_Format(PyExc_ValueError, "fd must be a descriptor, not %R", descriptor);
    if (fd < 0 || trust(kind, fd, &header) < 0)
        return NULL;
    int error = os_read_file(fd, page, sizeof page);
    if (error < 0)
        return raise_refused("pread", error, sizeof page);
    PyObject *text = PyBytes_FromStringAndSize(page + SHARED_DTYPE, header.dtype_length);
    PyObject *channels = header.channels == 0 ? Py_NewRef(Py_None) : PyLong_FromUnsignedLong(header.channels);
    if (text == NULL || channels == NULL) {
        Py_XDECREF(text);
        Py_XDECREF(channels);
        return NULL;
    }
    return Py_BuildValue("KNIN", (unsigned long long)header.frames, channels, header.item_bytes, text);
}

int shared_open(const struct shared_kind *kind, const struct shared_header *header, int fd)
{
    struct failure failure;
    struct shared_header found;
    if (fd < 0) {
        int made = mirror_file(header->data_bytes, &failure);
        if (made < 0)
            raise_refused(failure.call, failure.error, header->data_bytes);
        return made;
    }
    int opened = os_reopen(fd);
    if (opened < 0) {
        raise_refused(kind->open_call, opened, 0);
        return -1;
    }
    if (trust(kind, opened, &found) == 0) {
        if (found.frames == header->frames && found.frame_bytes == header->frame_bytes &&
            found.data_bytes == header->data_bytes)
            return opened;
        PyErr_Format(errors.ring_corrupted, "the %s's header changed while it was read", kind->name);
    }
    os_close(opened);
    return -1;
}

void shared_write_header(void *page, const struct shared_kind *kind, const struct shared_header *header,
                         const char *dtype_text)
{
    struct shared_header *shared = page;
    *shared = *header;
    shared->version = kind->version;
    shared->page_bytes = (uint32_t)os_page();
    memcpy((char *)page + SHARED_DTYPE, dtype_text, header->dtype_length);
    shared->magic = kind->magic;
}
