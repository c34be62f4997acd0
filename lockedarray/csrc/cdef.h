/* What cffi shows to Python: the cold paths, plain C that releases the GIL. A result below zero is -errno.
   Functions that take Python objects are attached to the module by native_init. */

/* objects.c */
int native_init(uintptr_t module);

/* residency.c: for whole pages that are mapped. */
int residency_locked(uintptr_t start, size_t bytes);
int residency_read(uintptr_t start, size_t bytes, uint8_t *pages);
int64_t residency_huge_by_smaps(const char *path, uintptr_t start, size_t bytes); /* the tests' way in */

/* os.c, os_thread.c: for the calling thread; sched_setattr(2)'s own struct. */
bool os_tune_malloc(void);
int os_lock_beyond(size_t limit);
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t least_utilization, most_utilization;
};
int os_scheduling(struct scheduling *now);
int os_schedule(const struct scheduling *wanted);
int64_t os_timer_slack(void);
int os_set_timer_slack(int64_t slack);
int os_flushes_denormals(void);
uint64_t os_denormals(void);
void os_set_denormals(uint64_t bits);

/* stack.c: for the calling thread. */
int64_t stack_prefault(size_t nbytes); /* bytes, or -errno */
bool stack_grows(void); /* it is not mapped as far as it may go: the first thread's */
int stack_pages(uintptr_t extent[2]); /* its whole pages: where they start, and how many bytes */

/* lock_all.c. A turn is what one who has entered leaves with, once: -1 before and after. What could not be locked again
   is counted: how many holds, their bytes, where the lowest begins, and why (-errno). */
struct refused_relock {
    size_t holds, bytes;
    uintptr_t lowest;
    int error;
};
int lock_all_enter(bool current, bool future, bool on_fault, int64_t *turn);
void lock_all_leave(int64_t *turn, struct refused_relock *refused);
void lock_all_leave_all(struct refused_relock *refused);
bool lock_all_holds(int64_t turn);
bool lock_all_brings_in(bool current, bool on_fault); /* with what is in force, or inherited */
int64_t lock_all_again(struct refused_relock *refused); /* in a forked child: the bytes of all holds, or -errno */

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
