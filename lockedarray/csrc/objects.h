/* The border to Python: types and functions that take Python objects and keep the GIL. */
#ifndef LOCKEDARRAY_OBJECTS_H
#define LOCKEDARRAY_OBJECTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "os.h"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL lockedarray_ARRAY_API
#ifndef LOCKEDARRAY_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

/* A METH_FASTCALL function in a PyMethodDef's slot. */
#define FASTCALL(function) ((PyCFunction)(void (*)(void))(function))

/* Python's own words for a failure, handed in by errors.py through install(): nothing here imports upwards. */
struct errors {
    PyObject *refused;        /* refused(call, errno, nbytes) -> exception: the one funnel for errno */
    PyObject *pool_exhausted; /* PoolExhausted(requested, available, capacity) */
    PyObject *ring_corrupted; /* RingCorrupted(sentence) */
    PyObject *heap_full;      /* heap_full(requested, capacity, in_use, largest_free, overflow) */
    PyObject *check_room;     /* check_room(nbytes): raises where so much would call the OOM killer */
};
extern struct errors errors;

/* Raise what refused() makes of a failed system call; error is -errno. Returns NULL. */
PyObject *raise_refused(const char *call, int error, size_t nbytes);

/* Raise what a call made, or what it raised itself. Steals the exception; returns NULL. */
PyObject *raise_made(PyObject *exception);

/* Create a type from its spec and put it into the module; the new reference is also kept in *slot. */
int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot);

/* Each file of objects adds its own types and functions. */
int region_objects_init(PyObject *module);
int extent_objects_init(PyObject *module);
int lock_objects_init(PyObject *module);
int pool_objects_init(PyObject *module);
int heap_objects_init(PyObject *module);
int ring_objects_init(PyObject *module);
int history_objects_init(PyObject *module);
int table_objects_init(PyObject *module);
int periodic_objects_init(PyObject *module);

#endif
