#include "region_objects.h"

#include "layout.h"
#include "lock_all.h"
#include "residency.h"

/* Above this a request is first held against what the machine can give. */
#define LARGE ((size_t)64 << 20)

struct region_object {
    PyObject_HEAD
    struct region *region;
};

static PyTypeObject *region_type;

static struct region *region_of(PyObject *self)
{
    return ((struct region_object *)self)->region;
}

PyObject *region_object(struct region *region)
{
    struct region_object *self = PyObject_New(struct region_object, region_type);
    if (self == NULL) {
        region_release(region);
        return NULL;
    }
    self->region = region;
    return (PyObject *)self;
}

static void region_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    region_release(region_of(self));
    PyObject_Free(self);
    Py_DECREF(type);
}

static int region_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct region *region = region_of(self);
    return PyBuffer_FillInfo(view, self, (void *)region->address, (Py_ssize_t)region->nbytes, region->readonly, flags);
}

static PyObject *get_address(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(region_of(self)->address);
}

static PyObject *get_nbytes(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(region_of(self)->nbytes);
}

static PyObject *get_mapped_bytes(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(region_of(self)->hold.end - region_of(self)->hold.start);
}

static PyObject *get_locked(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(registry_is_locked(&region_of(self)->hold));
}

static PyObject *get_huge_bytes(PyObject *self, void *Py_UNUSED(closure))
{
    const struct region *region = region_of(self);
    ssize_t huge = region->nbytes == 0 ? 0 : residency_huge_bytes(region->hold.start, region->hold.end - region->hold.start);
    return huge < 0 ? raise_refused("smaps", (int)huge, 0) : PyLong_FromSsize_t(huge);
}

static PyObject *get_guard(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(region_of(self)->guard);
}

static PyObject *get_fork(PyObject *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(region_of(self)->shared ? "share" : "copy");
}

static PyGetSetDef region_getset[] = {
    {"address", get_address, NULL, "Where the data begins.", NULL},
    {"nbytes", get_nbytes, NULL, "Bytes of data.", NULL},
    {"mapped_bytes", get_mapped_bytes, NULL, "Bytes of the whole pages, guards not counted.", NULL},
    {"locked", get_locked, NULL, "Whether the pages were locked, in this process.", NULL},
    {"huge_bytes", get_huge_bytes, NULL, "Bytes that lie in huge pages at this moment.", NULL},
    {"guard", get_guard, NULL, "Whether inaccessible pages stand on both sides.", NULL},
    {"fork", get_fork, NULL, "What a forked child sees: 'copy' or 'share'.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot region_slots[] = {
    {Py_tp_doc, "Whole pages of locked memory with one owner."},
    {Py_tp_dealloc, region_dealloc},
    {Py_tp_getset, region_getset},
    {Py_bf_getbuffer, region_buffer},
    {0, NULL},
};

static PyType_Spec region_spec = {
    .name = "lockedarray._native.Region",
    .basicsize = sizeof(struct region_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = region_slots,
};

bool region_has_room(size_t nbytes)
{
    if (nbytes <= LARGE)
        return true;
    PyObject *checked = PyObject_CallFunction(errors.check_room, "n", (Py_ssize_t)nbytes);
    Py_XDECREF(checked);
    return checked != NULL;
}

PyObject *region_make(const struct region_request *request, size_t asked)
{
    struct region *region;
    struct failure failure;
    if (!region_has_room(asked))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    region = region_create(request, &failure);
    Py_END_ALLOW_THREADS
    return region == NULL ? raise_refused(failure.call, failure.error, asked) : region_object(region);
}

uintptr_t region_start(PyObject *region)
{
    return region_of(region)->hold.start;
}

uintptr_t region_address(PyObject *region)
{
    return region_of(region)->address;
}

static PyObject *array_in_region(struct layout *layout, unsigned long flags, PyArrayObject *prototype)
{
    struct region_request request = {
        .nbytes = layout->nbytes,
        .alignment = (size_t)PyDataType_ALIGNMENT(layout->descr),
        .guard = flags & REGION_GUARD,
        .huge = flags & REGION_HUGE,
        .shared = flags & REGION_SHARED,
        .unlocked = flags & REGION_UNLOCKED,
    };
    PyObject *array = layout_array(layout, region_make(&request, request.nbytes), prototype);
    layout_clear(layout);
    return array;
}

static int check_count(Py_ssize_t count, Py_ssize_t wanted, const char *call)
{
    if (count == wanted)
        return 0;
    PyErr_Format(PyExc_TypeError, "wanted: %s", call);
    return -1;
}

static PyObject *native_empty(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct layout layout;
    if (check_count(count, 4, "empty(shape, dtype, order, flags)") < 0)
        return NULL;
    unsigned long flags = PyLong_AsUnsignedLong(args[3]);
    if ((flags == (unsigned long)-1 && PyErr_Occurred()) || layout_parse(args[0], args[1], args[2], &layout) < 0)
        return NULL;
    return array_in_region(&layout, flags, NULL);
}

/* What la.empty does with keywords, in Python. */
static PyObject *empty_with_options;

/* After the system calls before it every instruction is a cold one: a frame of Python around these few costs a tenth
   of a small array. So the plain call is made here, and only one with keywords goes to Python. */
static PyObject *direct_empty(PyObject *Py_UNUSED(self), PyObject *args, PyObject *options)
{
    Py_ssize_t count = PyTuple_Size(args);
    if (options != NULL || count < 1 || count > 3)
        return PyObject_Call(empty_with_options, args, options);
    struct layout layout;
    PyObject *dtype = count > 1 ? PyTuple_GetItem(args, 1) : Py_None;
    PyObject *order = count > 2 ? PyTuple_GetItem(args, 2) : NULL;
    if (layout_parse(PyTuple_GetItem(args, 0), dtype, order, &layout) < 0)
        return NULL;
    return array_in_region(&layout, 0, NULL);
}

static PyMethodDef direct_empty_def = {"empty", FASTCALL(direct_empty), METH_VARARGS | METH_KEYWORDS, NULL};

/* direct(empty): the same function with a plain call made in C; help() and inspect.signature() see no difference. */
static PyObject *native_direct(PyObject *Py_UNUSED(module), PyObject *function)
{
    PyObject *place = PyObject_GetAttrString(function, "__module__");
    PyObject *doc = PyObject_GetAttrString(function, "__doc__");
    PyObject *text = doc == NULL ? NULL : PyUnicode_FromFormat(
        "empty(shape, dtype=None, order='C', *, device=None, guard=False, huge=False, fork='copy', "
        "on_error='raise')\n--\n\n%V", PyUnicode_Check(doc) ? doc : NULL, "");
    Py_XDECREF(doc);
    PyObject *direct = NULL;
    if (place != NULL && text != NULL) {
        direct_empty_def.ml_doc = PyUnicode_AsUTF8AndSize(text, NULL); /* lives in text, which is kept */
        empty_with_options = Py_NewRef(function);
        direct = PyCFunction_NewEx(&direct_empty_def, NULL, place);
    }
    Py_XDECREF(place);
    return direct;
}

static PyObject *native_empty_like(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct layout layout;
    if (check_count(count, 6, "empty_like(prototype, dtype, order, subok, shape, flags)") < 0)
        return NULL;
    PyArrayObject *prototype = (PyArrayObject *)args[0];
    unsigned long flags = PyLong_AsUnsignedLong(args[5]);
    int subok = PyErr_Occurred() ? -1 : PyObject_IsTrue(args[3]);
    if (subok >= 0 && !PyArray_Check(args[0]))
        PyErr_SetString(PyExc_TypeError, "prototype must be an array");
    else if (subok >= 0 && layout_parse_like(prototype, args[1], args[2], args[4], &layout) == 0)
        return array_in_region(&layout, flags, subok ? prototype : NULL);
    return NULL;
}

/* protect(array): a fresh array of ours becomes read-only, and by mprotect so does its memory. */
static PyObject *native_protect(PyObject *Py_UNUSED(module), PyObject *array)
{
    PyObject *base = PyArray_Check(array) ? PyArray_BASE((PyArrayObject *)array) : NULL;
    if (base == NULL || !Py_IS_TYPE(base, region_type)) {
        PyErr_SetString(PyExc_TypeError, "protect takes an array that owns a Region");
        return NULL;
    }
    int error = region_protect(region_of(base));
    if (error < 0)
        return raise_refused("mprotect", error, region_of(base)->nbytes);
    PyArray_CLEARFLAGS((PyArrayObject *)array, NPY_ARRAY_WRITEABLE);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"empty", FASTCALL(native_empty), METH_FASTCALL, NULL},
    {"direct", native_direct, METH_O, NULL},
    {"empty_like", FASTCALL(native_empty_like), METH_FASTCALL, NULL},
    {"protect", native_protect, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int region_objects_init(PyObject *module)
{
    if (registry_init() < 0 || lock_all_init() < 0) {
        PyErr_NoMemory(); /* the only failure that pthread_atfork knows */
        return -1;
    }
    if (layout_init() < 0 || add_type(module, &region_spec, &region_type) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
