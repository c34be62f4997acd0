/* _native.Pool: taking keeps the GIL, since it makes no system call; making and closing give it up. */
#include "pool_objects.h"

#include "layout.h"
#include "mirror.h"
#include "pool.h"
#include "region_objects.h"

struct pool_object {
    PyObject_HEAD
    struct pool *pool;
};

static PyTypeObject *pool_type;

static struct pool *pool_of(PyObject *self)
{
    return ((struct pool_object *)self)->pool;
}

static PyObject *raise_refusal(PyObject *self, enum pool_refusal refusal, size_t nbytes)
{
    if (refusal == POOL_NO_MEMORY)
        return PyErr_NoMemory();
    if (refusal == POOL_CLOSED)
        PyErr_SetString(PyExc_ValueError, "the pool is closed");
    if (refusal == POOL_OF_PARENT)
        PyErr_SetString(PyExc_ValueError, "this pool belongs to the parent process, which would hand out the same "
                                          "pages, and here they are not locked: make a pool after the fork");
    if (refusal != POOL_EXHAUSTED)
        return NULL;
    struct pool_figures figures = pool_figures(pool_of(self));
    return raise_made(PyObject_CallFunction(errors.pool_exhausted, "nnn", (Py_ssize_t)nbytes,
                                            (Py_ssize_t)figures.available, (Py_ssize_t)figures.capacity));
}

static PyObject *array_of(PyObject *self, struct layout *layout)
{
    enum pool_refusal refusal;
    struct region *region = pool_take(pool_of(self), layout->nbytes, &refusal);
    PyObject *base = region == NULL ? raise_refusal(self, refusal, layout->nbytes) : region_object(region);
    PyObject *array = layout_array(layout, base, NULL);
    layout_clear(layout);
    return array;
}

/* take(shape, dtype, order) */
static PyObject *take(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    struct layout layout;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "take(shape, dtype, order)");
        return NULL;
    }
    return layout_parse(args[0], args[1], args[2], &layout) < 0 ? NULL : array_of(self, &layout);
}

/* _empty_like(prototype, order) */
static PyObject *empty_like(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    struct layout layout;
    if (count != 2 || !PyArray_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "_empty_like(prototype, order)");
        return NULL;
    }
    int parsed = layout_parse_like((PyArrayObject *)args[0], Py_None, args[1], Py_None, &layout);
    return parsed < 0 ? NULL : array_of(self, &layout);
}

PyObject *region_of_pool(PyObject *self, size_t data_bytes, int fd)
{
    enum pool_refusal refusal;
    struct failure failure;
    struct region *region;
    if (!PyObject_TypeCheck(self, pool_type)) {
        PyErr_SetString(PyExc_TypeError, "pool must be a Pool");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    region = pool_take_mirror(pool_of(self), data_bytes, fd, &refusal, &failure);
    Py_END_ALLOW_THREADS
    if (region != NULL)
        return region_object(region);
    if (refusal != 0)
        return raise_refusal(self, refusal, mirror_bytes(data_bytes));
    return raise_refused(failure.call, failure.error, mirror_bytes(data_bytes));
}

static PyObject *close_pool(PyObject *self, PyObject *Py_UNUSED(none))
{
    struct pool *pool = pool_of(self);
    Py_BEGIN_ALLOW_THREADS
    pool_close(pool);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* The closure of a figure's getter is its place in struct pool_figures. */
static PyObject *get_figure(PyObject *self, void *closure)
{
    struct pool_figures figures = pool_figures(pool_of(self));
    return PyLong_FromSize_t(*(size_t *)(void *)((char *)&figures + (uintptr_t)closure));
}

static PyObject *get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(pool_figures(pool_of(self)).closed);
}

#define FIGURE(name, doc) {#name, get_figure, NULL, doc, (void *)offsetof(struct pool_figures, name)}

static PyGetSetDef getters[] = {
    FIGURE(capacity, "Bytes that the pool was made with: in_use + available + returned."),
    FIGURE(in_use, "Bytes of live arrays, rings and tables, in whole pages."),
    FIGURE(available, "Bytes that can still be taken."),
    FIGURE(returned, "Bytes that went back to the system."),
    FIGURE(unreturned, "Bytes of in_use that nobody uses any more, and that the kernel did not take back yet."),
    FIGURE(peak, "The most that was ever in use."),
    {"closed", get_closed, NULL, "Whether the pool gives nothing any more.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Pool(nbytes, flags) */
static PyObject *pool_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    Py_ssize_t nbytes;
    unsigned flags;
    if (!PyArg_ParseTuple(args, "nI:Pool", &nbytes, &flags))
        return NULL;
    struct region_request request = {
        .nbytes = (size_t)nbytes,
        .huge = flags & REGION_HUGE,
        .shared = flags & REGION_SHARED,
        .unlocked = flags & REGION_UNLOCKED,
    };
    struct pool *pool;
    struct failure failure;
    if (!region_has_room(request.nbytes))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    pool = pool_create(&request, &failure);
    Py_END_ALLOW_THREADS
    if (pool == NULL)
        return raise_refused(failure.call, failure.error, request.nbytes);
    struct pool_object *self = (struct pool_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        pool_release(pool);
    else
        self->pool = pool;
    return (PyObject *)self;
}

static void pool_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    pool_release(pool_of(self));
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"_take", FASTCALL(take), METH_FASTCALL, NULL},
    {"_empty_like", FASTCALL(empty_like), METH_FASTCALL, NULL},
    {"close", close_pool, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Give nothing from now on, and return what is free to the system; again: nothing happens.\n\n"
     "What was taken stays valid and locked until its last view dies. One system call, without the GIL."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, pool_new},    {Py_tp_dealloc, pool_dealloc}, {Py_tp_getset, getters},
    {Py_tp_methods, methods}, {0, NULL},
};

int pool_objects_init(PyObject *module)
{
    PyType_Spec spec = {
        .name = "lockedarray._native.Pool",
        .basicsize = sizeof(struct pool_object),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return add_type(module, &spec, &pool_type);
}
