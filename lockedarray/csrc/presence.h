/* That this process lives, told to whoever has the same ring: a byte of its file is locked, and the kernel lets go of
   it when the last descriptor of that open file is closed, at the latest by the process's death. */
#ifndef LOCKEDARRAY_PRESENCE_H
#define LOCKEDARRAY_PRESENCE_H

#include <lockedarray/ring.h>

#include "os.h"

struct presence {
    struct la_ring *ring;
    int fd;        /* an open file of this process alone, where /proc lets it be opened; -1: lost in a fork, for the reason `error` */
    int handed_fd; /* another one, to be handed out; -1: not yet */
    int error;
    struct presence *next, **link; /* all of them, for fork */
};

/* Fork handlers; after registry_init. */
int presence_init(void);

struct failure;

/* Takes the ring's descriptor, which nobody else has; or -errno with *failure set, and the descriptor is closed. */
int presence_begin(struct presence *presence, struct la_ring *ring, int fd, struct failure *failure);

void presence_end(struct presence *presence);

/* A descriptor for others, which stays ours; or -errno. It holds a byte of its own, so that a ring on its way to
   somebody is not taken for deserted. */
int presence_hand_out(struct presence *presence);

#endif
