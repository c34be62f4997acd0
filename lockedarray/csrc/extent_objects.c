/* Where the bytes of any buffer begin. */
#include "objects.h"

/* Python has no way to ask this of a strided memoryview, whatever its format. */
static PyObject *buffer_address(PyObject *Py_UNUSED(module), PyObject *object)
{
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_FULL_RO) < 0)
        return NULL;
    PyObject *address = PyLong_FromVoidPtr(view.buf);
    PyBuffer_Release(&view);
    return address;
}

static PyMethodDef functions[] = {
    {"buffer_address", buffer_address, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int extent_objects_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
