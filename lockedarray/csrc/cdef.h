/* What cffi shows to Python: the cold paths, plain C that releases the GIL. A result below zero is -errno.
   Functions that take Python objects are attached to the module by native_init. */

/* objects.c */
int native_init(uintptr_t module);
