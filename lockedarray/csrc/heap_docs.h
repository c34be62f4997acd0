/* What help() says of the heap's methods. */
#ifndef LOCKEDARRAY_HEAP_DOCS_H
#define LOCKEDARRAY_HEAP_DOCS_H

static const char heap_empty_doc[] =
"empty($self, shape, dtype=None, order='C')\n--\n\n"
"Return an array in the heap, its values whatever was there: as `numpy.empty`, whether active or not.\n"
"\n"
"As fast as `numpy.empty`. Keeps the GIL; no system call where nobody else is in the heap at that moment,\n"
"no page fault. The array is as NumPy's own: it can be resized, and keeps the heap alive. The same for\n"
"`zeros`, and for `ones`, `full` and `array` but for what NumPy does to fill them.\n"
"\n"
"Parameters\n----------\n"
"shape, dtype, order\n"
"    As `numpy.empty` takes them. Dtypes that hold references (object, StringDType) are refused: what\n"
"    they refer to would not be locked.\n"
"\n"
"Raises\n------\n"
"MemoryError\n"
"    No free block is large enough; the sentence tells the heap's figures. With ``overflow=\"system\"`` the\n"
"    array then lies in ordinary memory, and `overflows` counts it.\n"
"TypeError, ValueError\n"
"    As `numpy.empty`.\n"
"\n"
"See Also\n--------\n"
"Pool.empty : pages of their own, that go back to the system.\n"
"\n"
"Examples\n--------\n"
">>> import lockedarray as la\n"
">>> heap = la.Heap(1 << 20)\n"
">>> heap.owns(heap.empty((2, 512), 'float32'))\n"
"True\n";

static const char heap_zeros_doc[] =
"zeros($self, shape, dtype=None, order='C')\n--\n\n"
"Return zeros in the heap: as `numpy.zeros`, but that the zeros are written at once. See `empty`.\n"
"\n"
"Examples\n--------\n"
">>> import lockedarray as la\n"
">>> la.Heap(1 << 20).zeros(3).tolist()\n"
"[0.0, 0.0, 0.0]\n";

static const char heap_owns_doc[] =
"owns($self, a, /)\n--\n\n"
"Return whether the data of `a` lies in this heap: of an array, a view, or anything with a buffer.\n"
"\n"
"Looks at the address alone; no system call.\n"
"\n"
"Raises\n------\n"
"TypeError\n"
"    `a` is neither an array nor has it a buffer.\n"
"\n"
"Examples\n--------\n"
">>> import lockedarray as la, numpy as np\n"
">>> heap = la.Heap(1 << 20)\n"
">>> heap.owns(heap.zeros(8)[::-1]), heap.owns(np.zeros(8))\n"
"(True, False)\n";

static const char heap_check_doc[] =
"check($self, /)\n--\n\n"
"Look at every block: do neighbours, lists and sums agree?\n"
"\n"
"For tests and bug hunts, not for loops: it takes a time that grows with the number of arrays, while other\n"
"threads wait for the heap. The GIL is free meanwhile.\n"
"\n"
"Raises\n------\n"
"RuntimeError\n"
"    Something wrote beyond the end of an array; the sentence tells what is damaged.\n"
"\n"
"Examples\n--------\n"
">>> import lockedarray as la\n"
">>> la.Heap(1 << 20).check()\n";

#endif
