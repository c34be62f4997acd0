"""Leave one mechanism out at a time, and see that the tests notice.

    python tests/mutations.py

Builds each mutant in a copy of the tree, with this interpreter, and runs the tests that ought to fail. A
mutant that hangs the tests has not made them fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 300.0  # seconds for the tests of one mutant


class Mutation(NamedTuple):
    """What is left out, where, and who has to notice."""

    what: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "mlock dropped",
        "os.c",
        "return result(mlock((void *)at, bytes));",
        "return at + bytes > 0 ? 0 : -1;",
        "test_arrays.py",
    ),
    Mutation(
        "munlock on free dropped",
        "os.c",
        "return result(munlock((void *)at, bytes));",
        "return at + bytes > 0 ? 0 : -1;",
        "test_locking.py",
    ),
    Mutation(
        "index published before the copy",
        "ring_transfer.c",
        "    char *to = ring->data + ring->writer.position;\n",
        "    char *to = ring->data + ring->writer.position;\n    la_ring_commit(ring, frames);\n"
        "#define la_ring_commit(ring, frames) (void)0\n",
        "test_ring_realtime.py",
    ),
    Mutation(
        "only one half of the mirror locked",
        "region.c",
        "(request->mirrored ? mirror_bytes(pages) : pages)",
        "(request->mirrored ? mirror_bytes(pages) - pages : pages)",
        "test_ring_realtime.py",
    ),
    Mutation(
        "the table left writable",
        "region.c",
        "int error = os_protect(region->hold.start, region->hold.end - region->hold.start, false);",
        "int error = 0;",
        "test_table_realtime.py",
    ),
    Mutation(
        "a sleeper never woken",
        "../include/lockedarray/ring_wait.h",
        "        la_ring_futex_wake(sleeps);",
        "        (void)la_ring_futex_wake;",
        "test_ring_waiting.py",
    ),
    Mutation(
        "signals looked at only after a sleep",
        "ring_slices.h",
        "#define RING_SLICE INT64_C(20000000)",
        "#define RING_SLICE LA_RING_FOREVER",
        "test_ring_waiting.py",
    ),
    Mutation(
        "the life of this process not shown",
        "presence.c",
        "    int error = take_byte(fd, false, &ring->id);",
        "    int error = choose_id(&ring->id);",
        "test_ring_death.py",
    ),
    Mutation(
        "a lock that a forked child's mapping keeps",
        "presence.c",
        "    int apart = os_reopen(fd);\n    if (apart == -ENOENT)\n        return fd;\n",
        "    int apart = fd;\n    if (fd >= 0)\n        return fd;\n",
        "test_ring_death.py",
    ),
    Mutation(
        "a file believed that can shrink",
        "os_files.c",
        "(seals & needed) == needed",
        "(seals | needed) >= needed",
        "test_ring_hostile.py",
    ),
    Mutation(
        "an impossible index believed",
        "../include/lockedarray/ring.h",
        "    reader->other = reader->index; /* empty, as long as it says what cannot be */\n"
        "    return LA_RING_CORRUPTED;",
        "    return (int64_t)held;",
        "test_ring.py",
    ),
    Mutation(
        "a side that comes back goes on where it was",
        "../include/lockedarray/ring.h",
        "(__atomic_load_n(id, __ATOMIC_RELAXED) == ring->id)",
        "(__atomic_load_n(id, __ATOMIC_RELAXED) > 0)",
        "test_ring_processes.py",
    ),
    Mutation(
        "a history's copy not checked afterwards",
        "../include/lockedarray/history.h",
        "        if (!LA_HISTORY_LIKELY(begun - first <= history->memory_frames))",
        "        if (!LA_HISTORY_LIKELY(begun - first <= UINT64_MAX / 2))",
        "test_history_processes.py",
    ),
    Mutation(
        "a heap kept after its last array",
        "numpy_handler.c",
        "    heap_release(handler->allocator.ctx);\n}",
        "    (void)handler;\n}",
        "test_heap_life.py",
    ),
    Mutation(
        "a heap's mutex as it was, in a forked child",
        "heap.c",
        "        init_mutex(&heap->mutex);\n",
        "        (void)heap;\n",
        "test_heap_native.py",
    ),
    Mutation(
        "a release unlocks under lock_all",
        "registry.c",
        "everything ? 0 : unlock_pages(*at, stop)",
        "unlock_pages(*at, stop)",
        "test_lock_all.py",
    ),
    Mutation(
        "everything unlocked for a moment",
        "lock_all.c",
        "    int error = all.future ? lock_on_fault(true, false) : 0;\n",
        "    int error = os_unlock_all();\n    registry_recover(refused);\n",
        "test_lock_all.py",
    ),
    Mutation(
        "pages marked on fault while another thread locks",
        "lock_all.c",
        "    registry_close_gate();\n    int error = os_lock_all(current, future, true);\n"
        "    registry_open_gate();\n",
        "    int error = os_lock_all(current, future, true);\n",
        "test_lock_all.py",
    ),
    Mutation(
        "the first end ends every level of lock_all",
        "lock_all.c",
        "if (--all.levels == 0) {",
        "if ((all.levels = 0) == 0) {",
        "test_lock_all.py",
    ),
    Mutation(
        "only arrays repaired after a fork under lock_all",
        "lock_all.c",
        "        if (mapping.writable && mapping.is_private)\n",
        "        if (mapping.writable && mapping.is_private && mapping.start == 0)\n",
        "test_fork_repair.py",
    ),
    Mutation(
        "a relock that fails keeps what it had locked",
        "registry.c",
        "        hold_tree_move(&lost, &kept_out);\n        unlock_rest(lost);\n",
        "        hold_tree_move(&lost, &kept_out);\n",
        "test_lock_all_limits.py",
    ),
    Mutation(
        "an inner level drops the future",
        "lock_all.c",
        "future || (more && all.future)",
        "future",
        "test_lock_all.py",
    ),
    Mutation(
        "a refused lock_all keeps what is released",
        "lock_all.c",
        "        if (registry_lock_everything(false))\n            unlock_the_rest();\n",
        "",
        "test_lock_all_limits.py",
    ),
    Mutation(
        "what is lost stays locked in part",
        "registry.c",
        "    hold_tree_move(&lost, &lost_before);\n    unlock_rest(lost);\n",
        "    hold_tree_move(&lost, &lost_before);\n",
        "test_lock_all_limits.py",
    ),
    Mutation(
        "a refused relock leaves lock_all in force",
        "lock_all.c",
        "        undo(&ignored);\n        all.epoch = inherited_epoch;\n",
        "        ignored.holds = inherited_epoch;\n        (void)ignored;\n",
        "test_lock_all_limits.py",
    ),
    Mutation(
        "a child in whose parent's lock_all somebody is",
        "lock_all.c",
        "    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* whoever was in it stayed behind */\n",
        "",
        "test_fork_repair.py",
    ),
    Mutation(
        "a child's release unlocks nothing, as in the parent",
        "registry.c",
        "    everything = owed = false;\n",
        "",
        "test_fork_repair.py",
    ),
    Mutation(
        "the stack not touched",
        "stack.c",
        "os_write_to(at - os_page()) == 0",
        "at > 0",
        "test_stack.py",
    ),
    Mutation(
        "fork repair removed", "registry.c", "    repair(locked);\n", "    (void)repair;\n", "test_arrays.py"
    ),
]


def notices(mutation: Mutation) -> bool:
    """Build the mutant, and return whether a test failed."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory, "tree")
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "*.so", "build", "*.egg-info"))
        source = tree / "lockedarray/csrc" / mutation.file
        text = source.read_text()
        if text.count(mutation.old) != 1:
            sys.exit(
                f"{mutation.what}: {mutation.file} has changed; what is to be left out stands there no more"
            )
        source.write_text(text.replace(mutation.old, mutation.new))
        build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        subprocess.run(build, cwd=tree, check=True, stdout=subprocess.DEVNULL)
        test = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            f"tests/{mutation.tests}",
        ]
        environment = os.environ | {"PYTHONPATH": str(tree)}
        ran = subprocess.run(
            test, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, timeout=LONGEST
        )
        print(f"{mutation.what:36} {ran.stdout.strip().splitlines()[-1]}", flush=True)
        return ran.returncode == 1


def main() -> int:
    unnoticed = [mutation.what for mutation in MUTATIONS if not notices(mutation)]
    print("unnoticed: " + ", ".join(unnoticed) if unnoticed else "every mutation was noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
