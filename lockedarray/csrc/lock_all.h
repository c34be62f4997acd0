/* The whole process locked, by mlockall, and counted: of those who want it the last one's leave undoes it. */
#ifndef LOCKEDARRAY_LOCK_ALL_H
#define LOCKEDARRAY_LOCK_ALL_H

/* Its fork handlers; after registry_init. What is called from Python is in cdef.h. */
int lock_all_init(void);

#endif
