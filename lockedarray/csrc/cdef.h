/* What cffi shows to Python: the cold paths, plain C that releases the GIL. A result below zero is -errno.
   Functions that take Python objects are attached to the module by native_init. */

/* objects.c */
int native_init(uintptr_t module);

/* residency.c: for whole pages that are mapped. */
int residency_locked(uintptr_t start, size_t bytes);
int residency_read(uintptr_t start, size_t bytes, uint8_t *pages);
int64_t residency_huge_by_smaps(const char *path, uintptr_t start, size_t bytes); /* the tests' way in */

/* os.c */
bool os_tune_malloc(void);

/* faults.c */
struct faults {
    uint64_t minor, major; /* since faults_begin, as of the last faults_read */
    uint64_t minor_before, major_before;
    int minor_fd, major_fd;
    bool kernel; /* faults taken by the kernel on the thread's behalf are counted too */
};
void faults_open(struct faults *faults);
int faults_begin(struct faults *faults);
int faults_read(struct faults *faults);
void faults_close(struct faults *faults);

/* deadlines.c */
int64_t deadline_at(int64_t t0, double seconds, int64_t k);
int64_t deadline_next(int64_t t0, double seconds, int64_t k, int64_t now);

/* ring_calls.c: for Numba, which calls them by address, with the GIL or without. */
int64_t ring_call_write(uintptr_t address, uintptr_t block, uint64_t frames, intptr_t frame_stride,
                        intptr_t channel_stride, int drop);
int64_t ring_call_read(uintptr_t address, uintptr_t out, uint64_t frames, intptr_t frame_stride,
                       intptr_t channel_stride, int fills);
uint64_t ring_call_capacity(uintptr_t address);
int64_t ring_call_held(uintptr_t address);
int ring_call_closed(uintptr_t address);
void ring_call_close(uintptr_t address);
int ring_call_wait(uintptr_t address, int reads, uint64_t n, double seconds, uintptr_t thread);
