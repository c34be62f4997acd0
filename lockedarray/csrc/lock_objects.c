/* _native.Lock: a lock on memory that belongs to somebody else. */
#include "objects.h"
#include "region.h"

struct lock_object {
    PyObject_HEAD
    struct region *region; /* NULL once released */
};

static PyTypeObject *lock_type;

static struct lock_object *object_of(PyObject *self)
{
    return (struct lock_object *)self;
}

/* Lock(start, nbytes, repair, locked): whole pages. Not locked, they are only faulted in, and nothing is held. */
static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    unsigned long long start;
    Py_ssize_t nbytes;
    int repair, locked;
    if (!PyArg_ParseTuple(args, "Knpp:Lock", &start, &nbytes, &repair, &locked))
        return NULL;
    struct lock_object *self = (struct lock_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    struct failure failure = {"madvise", 0};
    Py_BEGIN_ALLOW_THREADS
    if (locked)
        self->region = region_borrow((uintptr_t)start, (size_t)nbytes, repair, &failure);
    else if (nbytes > 0 && !(repair && os_populate((uintptr_t)start, (size_t)nbytes) == 0))
        failure.error = os_fault_in((uintptr_t)start, (size_t)nbytes); /* some of it may not be written to */
    Py_END_ALLOW_THREADS
    if (failure.error < 0) {
        Py_DECREF((PyObject *)self);
        return raise_refused(failure.call, failure.error, (size_t)nbytes);
    }
    return (PyObject *)self;
}

/* The pointer is taken before the GIL is given up: of two threads that release, one does. */
static PyObject *lock_release(PyObject *object, PyObject *Py_UNUSED(none))
{
    struct lock_object *self = object_of(object);
    struct region *region = self->region;
    int error;
    if (region == NULL)
        Py_RETURN_NONE;
    size_t nbytes = region->nbytes;
    self->region = NULL;
    Py_BEGIN_ALLOW_THREADS
    error = region_return(region);
    Py_END_ALLOW_THREADS
    if (error == 0)
        Py_RETURN_NONE;
    self->region = region;
    return raise_refused("munlock", error, nbytes);
}

static void lock_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (object_of(object)->region != NULL)
        region_release(object_of(object)->region);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyObject *get_active(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(object_of(self)->region != NULL);
}

static PyGetSetDef getters[] = {
    {"active", get_active, NULL, "Whether it has not been released yet.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"release", lock_release, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, lock_new},    {Py_tp_dealloc, lock_dealloc}, {Py_tp_getset, getters},
    {Py_tp_methods, methods}, {0, NULL},
};

int lock_objects_init(PyObject *module)
{
    PyType_Spec spec = {
        .name = "lockedarray._native.Lock",
        .basicsize = sizeof(struct lock_object),
        .flags = Py_TPFLAGS_DEFAULT,
        .slots = slots,
    };
    return add_type(module, &spec, &lock_type);
}
