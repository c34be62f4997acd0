/* _native.Heap: making and checking give up the GIL, all else keeps it. */
#include "objects.h"

#include "arguments.h"
#include "heap.h"
#include "heap_docs.h"
#include "layout.h"
#include "numpy_handler.h"
#include "region_objects.h"

struct heap_object {
    PyObject_HEAD
    struct heap *heap;
    PyObject *handler; /* owns the heap */
};

static PyTypeObject *heap_type;

static struct heap *heap_of(PyObject *self)
{
    return ((struct heap_object *)self)->heap;
}

static PyObject *handler_of(PyObject *self)
{
    return ((struct heap_object *)self)->handler;
}

/* Arrays. */

/* _full() -> the MemoryError for what was last refused. */
static PyObject *full(PyObject *self, PyObject *Py_UNUSED(none))
{
    struct heap_refusal refusal = heap_last_refusal(heap_of(self));
    return PyObject_CallFunction(errors.heap_full, "KKKKi", (unsigned long long)refusal.requested,
                                 (unsigned long long)refusal.capacity, (unsigned long long)refusal.in_use,
                                 (unsigned long long)refusal.largest_free, (int)refusal.overflow);
}

static PyObject *array_of(PyObject *self, const struct layout *layout, void *data)
{
    if (data == NULL)
        return raise_made(full(self, NULL));
    PyObject *array = layout_array_at(layout, data, NULL);
    if (array == NULL)
        heap_give(heap_of(self), data);
    else
        numpy_handler_adopt(handler_of(self), (PyArrayObject *)array);
    return array;
}

/* NumPy asks for memory too where an array has no bytes. */
static size_t bytes_of(const struct layout *layout)
{
    return layout->nbytes == 0 ? 1 : layout->nbytes;
}

static PyObject *make(PyObject *self, const char *function, bool zeroed, PyObject *const *args, Py_ssize_t count,
                      PyObject *names)
{
    const struct signature signature = {function, 3, 1, 3, {"shape", "dtype", "order"}};
    PyObject *values[3] = {NULL};
    struct layout layout;
    if (arguments_from_vector(&signature, values, args, count, names) < 0 ||
        layout_parse(values[0], values[1] == NULL ? Py_None : values[1], values[2], &layout) < 0)
        return NULL;
    size_t nbytes = bytes_of(&layout);
    void *data = zeroed ? heap_take_zeroed(heap_of(self), 1, nbytes) : heap_take(heap_of(self), nbytes);
    PyObject *array = array_of(self, &layout, data);
    layout_clear(&layout);
    return array;
}

static PyObject *empty(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    return make(self, "empty()", false, args, count, names);
}

static PyObject *zeros(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    return make(self, "zeros()", true, args, count, names);
}

/* _empty_like(prototype, order) */
static PyObject *empty_like(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    struct layout layout;
    if (count != 2 || !PyArray_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "_empty_like(prototype, order)");
        return NULL;
    }
    if (layout_parse_like((PyArrayObject *)args[0], Py_None, args[1], Py_None, &layout) < 0)
        return NULL;
    PyObject *array = array_of(self, &layout, heap_take(heap_of(self), bytes_of(&layout)));
    layout_clear(&layout);
    return array;
}

static PyObject *owns(PyObject *self, PyObject *object)
{
    if (PyArray_Check(object))
        return PyBool_FromLong(heap_owns(heap_of(self), PyArray_DATA((PyArrayObject *)object)));
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_FULL_RO) < 0)
        return NULL;
    bool inside = heap_owns(heap_of(self), view.buf);
    PyBuffer_Release(&view);
    return PyBool_FromLong(inside);
}

/* The context. */

/* _activate() -> what NumPy allocated with before, for _deactivate. */
static PyObject *activate(PyObject *self, PyObject *Py_UNUSED(none))
{
    return numpy_handler_set(handler_of(self));
}

/* _deactivate(before) -> whether this heap was what NumPy allocated with; else nothing changes. */
static PyObject *deactivate(PyObject *self, PyObject *before)
{
    int set = numpy_handler_is_set(handler_of(self));
    if (set < 0)
        return NULL;
    if (set == 1) {
        PyObject *own = numpy_handler_set(before);
        if (own == NULL)
            return NULL;
        Py_DECREF(own);
    }
    return PyBool_FromLong(set);
}

/* Looking at it. */

static PyObject *check(PyObject *self, PyObject *Py_UNUSED(none))
{
    const char *wrong;
    Py_BEGIN_ALLOW_THREADS
    wrong = heap_check(heap_of(self));
    Py_END_ALLOW_THREADS
    if (wrong == NULL)
        Py_RETURN_NONE;
    PyErr_Format(PyExc_RuntimeError, "the heap is damaged, %s: something wrote beyond the end of an array in it", wrong);
    return NULL;
}

static PyObject *list_of(const size_t *values, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *value = PyLong_FromSize_t(values[i]);
        if (value == NULL)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, i, value);
    }
    return list;
}

/* _occupancy(width) -> the bytes in use of each part of so many bytes. */
static PyObject *occupancy(PyObject *self, PyObject *argument)
{
    Py_ssize_t width = PyLong_AsSsize_t(argument);
    if (width < 1) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a part has at least 1 byte");
        return NULL;
    }
    size_t capacity = heap_figures(heap_of(self), false).capacity;
    Py_ssize_t cells = (Py_ssize_t)((capacity - 1) / (size_t)width + 1);
    size_t *used = PyMem_Calloc((size_t)cells, sizeof *used);
    if (used == NULL)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    heap_occupancy(heap_of(self), (size_t)cells, (size_t)width, used);
    Py_END_ALLOW_THREADS
    PyObject *list = list_of(used, cells);
    PyMem_Free(used);
    return list;
}

/* The closure of a figure's getter is its place in struct heap_figures. */
static PyObject *figure(PyObject *self, void *closure, bool settled)
{
    struct heap_figures figures = heap_figures(heap_of(self), settled);
    return PyLong_FromSize_t(*(size_t *)(void *)((char *)&figures + (uintptr_t)closure));
}

static PyObject *get_figure(PyObject *self, void *closure)
{
    return figure(self, closure, false);
}

static PyObject *get_settled_figure(PyObject *self, void *closure)
{
    return figure(self, closure, true);
}

static PyObject *get_locked(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(heap_is_locked(heap_of(self)));
}

#define FIGURE(name, getter, doc) {#name, getter, NULL, doc, (void *)offsetof(struct heap_figures, name)}

static PyGetSetDef getters[] = {
    FIGURE(capacity, get_figure, "Bytes that arrays can take: whole pages, and room for an array of nbytes."),
    FIGURE(in_use, get_settled_figure, "Bytes that live arrays take: each with a header of 16, in units of 64."),
    FIGURE(peak, get_figure, "The most bytes that were in use at once."),
    FIGURE(largest_free, get_settled_figure, "Bytes of the largest array that can be made now."),
    FIGURE(allocations, get_figure, "How many times memory was taken from the heap."),
    FIGURE(failures, get_figure, "How many times it could not be, nor by the system."),
    FIGURE(overflows, get_figure, "How many times the system gave memory instead."),
    {"locked", get_locked, NULL, "Whether the heap's memory was locked, in this process.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Heap(nbytes, flags, overflow) */
static PyObject *heap_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    Py_ssize_t nbytes;
    unsigned flags;
    int overflow;
    if (!PyArg_ParseTuple(args, "nIp:Heap", &nbytes, &flags, &overflow))
        return NULL;
    struct region_request request = {
        .nbytes = (size_t)nbytes,
        .huge = flags & REGION_HUGE,
        .unlocked = flags & REGION_UNLOCKED,
    };
    struct heap *heap;
    struct failure failure;
    size_t locked = heap_region_bytes(request.nbytes);
    if (!region_has_room(locked))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    heap = heap_create(&request, overflow, &failure);
    Py_END_ALLOW_THREADS
    if (heap == NULL)
        return raise_refused(failure.call, failure.error, locked == 0 ? request.nbytes : locked);
    PyObject *handler = numpy_handler_new(heap);
    struct heap_object *self = handler == NULL ? NULL : (struct heap_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(handler);
        return NULL;
    }
    self->heap = heap;
    self->handler = handler;
    return (PyObject *)self;
}

static void heap_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(handler_of(self));
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"empty", FASTCALL(empty), METH_FASTCALL | METH_KEYWORDS, heap_empty_doc},
    {"zeros", FASTCALL(zeros), METH_FASTCALL | METH_KEYWORDS, heap_zeros_doc},
    {"_empty_like", FASTCALL(empty_like), METH_FASTCALL, NULL},
    {"owns", owns, METH_O, heap_owns_doc},
    {"check", check, METH_NOARGS, heap_check_doc},
    {"_activate", activate, METH_NOARGS, NULL},
    {"_deactivate", deactivate, METH_O, NULL},
    {"_full", full, METH_NOARGS, NULL},
    {"_occupancy", occupancy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, heap_new},    {Py_tp_dealloc, heap_dealloc}, {Py_tp_getset, getters},
    {Py_tp_methods, methods}, {0, NULL},
};

int heap_objects_init(PyObject *module)
{
    if (heap_init() < 0) {
        PyErr_NoMemory(); /* the only failure that pthread_atfork knows */
        return -1;
    }
    PyType_Spec spec = {
        .name = "lockedarray._native.Heap",
        .basicsize = sizeof(struct heap_object),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return add_type(module, &spec, &heap_type);
}
