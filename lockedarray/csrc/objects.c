/* Attaches the types and functions that take Python objects to the module that cffi made. */
#define LOCKEDARRAY_IMPORTS_NUMPY
#include "objects.h"

#include "cdef.h"

struct errors errors;

PyObject *raise_made(PyObject *exception)
{
    if (exception != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
    return NULL;
}

PyObject *raise_refused(const char *call, int error, size_t nbytes)
{
    return raise_made(PyObject_CallFunction(errors.refused, "sin", call, -error, (Py_ssize_t)nbytes));
}

int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type == NULL)
        return -1;
    *slot = (PyTypeObject *)type;
    return PyModule_AddType(module, *slot);
}

static PyObject *install(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *refused, *pool_exhausted, *ring_corrupted, *heap_full, *check_room;
    if (!PyArg_ParseTuple(args, "OOOOO", &refused, &pool_exhausted, &ring_corrupted, &heap_full, &check_room))
        return NULL;
    errors.refused = Py_NewRef(refused);
    errors.pool_exhausted = Py_NewRef(pool_exhausted);
    errors.ring_corrupted = Py_NewRef(ring_corrupted);
    errors.heap_full = Py_NewRef(heap_full);
    errors.check_room = Py_NewRef(check_room);
    Py_RETURN_NONE;
}

static PyMethodDef install_def = {"install", install, METH_VARARGS, NULL};

static int attach(PyObject *module)
{
    if (PyArray_ImportNumPyAPI() < 0)
        return -1;
    PyObject *function = PyCFunction_New(&install_def, NULL);
    if (function == NULL)
        return -1;
    int status = PyModule_AddObjectRef(module, "install", function);
    Py_DECREF(function);
    if (status < 0)
        return -1;
    static int (*const inits[])(PyObject *) = {
        region_objects_init, extent_objects_init,  lock_objects_init,  pool_objects_init,    heap_objects_init,
        ring_objects_init,   history_objects_init, table_objects_init, periodic_objects_init,
    };
    for (size_t i = 0; i < sizeof inits / sizeof *inits; i++)
        if (inits[i](module) < 0)
            return -1;
    return 0;
}

int native_init(uintptr_t module)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    int status = attach((PyObject *)module);
    if (status < 0)
        PyErr_Print();
    PyGILState_Release(gil);
    return status;
}
