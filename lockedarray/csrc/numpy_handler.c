#include "numpy_handler.h"

#include <string.h>

/* NumPy calls these without the GIL too, from any thread, and in the midst of anything: no Python in them. */

static void *handler_malloc(void *heap, size_t nbytes)
{
    return heap_take(heap, nbytes);
}

static void *handler_calloc(void *heap, size_t count, size_t nbytes)
{
    return heap_take_zeroed(heap, count, nbytes);
}

static void *handler_realloc(void *heap, void *payload, size_t nbytes)
{
    return heap_retake(heap, payload, nbytes);
}

static void handler_free(void *heap, void *payload, size_t Py_UNUSED(nbytes))
{
    heap_give(heap, payload);
}

static const char capsule_name[] = "mem_handler"; /* by which NumPy knows it */

/* At the interpreter's exit too: nothing here needs it. */
static void drop(PyObject *capsule)
{
    PyDataMem_Handler *handler = PyCapsule_GetPointer(capsule, capsule_name);
    heap_release(handler->allocator.ctx);
}

PyObject *numpy_handler_new(struct heap *heap)
{
    PyDataMem_Handler *handler = heap_attached(heap); /* read at each allocation: it must not fault either */
    _Static_assert(sizeof *handler <= HEAP_ATTACHED, "the handler lies in the heap");
    strcpy(handler->name, "lockedarray.Heap");
    handler->version = 1;
    handler->allocator = (PyDataMemAllocator){heap, handler_malloc, handler_calloc, handler_realloc, handler_free};
    PyObject *capsule = PyCapsule_New(handler, capsule_name, drop);
    if (capsule == NULL)
        heap_release(heap);
    return capsule;
}

PyObject *numpy_handler_set(PyObject *capsule)
{
    if (!PyCapsule_IsValid(capsule, capsule_name)) {
        PyErr_SetString(PyExc_TypeError, "a handler of NumPy's is wanted");
        return NULL;
    }
    return PyDataMem_SetHandler(capsule);
}

int numpy_handler_is_set(PyObject *capsule)
{
    PyObject *present = PyDataMem_GetHandler();
    if (present == NULL)
        return -1;
    Py_DECREF(present);
    return present == capsule;
}

void numpy_handler_adopt(PyObject *capsule, PyArrayObject *array)
{
    /* Setting the handler around PyArray_NewFromDescr would take twice as long as all the rest. */
    ((PyArrayObject_fields *)array)->mem_handler = Py_NewRef(capsule);
    PyArray_ENABLEFLAGS(array, NPY_ARRAY_OWNDATA);
}
