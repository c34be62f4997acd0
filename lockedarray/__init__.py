"""NumPy arrays that stay in RAM: locked, prefaulted memory for real-time code."""

from . import _native, errors

if _native.lib.native_init(id(_native)) < 0:
    raise ImportError("lockedarray could not set up its native module")
_native.install(
    errors.refused, errors.PoolExhausted, errors.RingCorrupted, errors.heap_full, errors.check_room
)

from ._native import Region  # noqa: E402
from .arrays import (  # noqa: E402
    array,
    empty,
    empty_like,
    full,
    full_like,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from .doctor import Check, Report, doctor  # noqa: E402
from .errors import (  # noqa: E402
    LockError,
    LockWarning,
    PageFaultError,
    PoolExhausted,
    RingCorrupted,
)
from .faults import no_page_faults, page_faults  # noqa: E402
from .heap import Heap  # noqa: E402
from .history import HistoryBuffer  # noqa: E402
from .include_directory import get_include  # noqa: E402
from .limits import locked_bytes, memlock_limit, set_memlock_limit  # noqa: E402
from .loading import load  # noqa: E402
from .locking import MemoryLock, lock, region  # noqa: E402
from .malloc import tune_malloc  # noqa: E402
from .periodic import Periodic  # noqa: E402
from .pool import Pool  # noqa: E402
from .process import LockAll, lock_all, relock, unlock_all  # noqa: E402
from .realtime import Realtime, realtime  # noqa: E402
from .residency import is_locked, residency, residency_map  # noqa: E402
from .ring import RingBuffer  # noqa: E402
from .setting import Step  # noqa: E402
from .table import LookupTable  # noqa: E402
from .thread import FlushDenormals, flush_denormals, prefault_stack, start_thread  # noqa: E402

__all__ = [
    "Check",
    "FlushDenormals",
    "Heap",
    "HistoryBuffer",
    "LockAll",
    "LockError",
    "LockWarning",
    "LookupTable",
    "MemoryLock",
    "PageFaultError",
    "Periodic",
    "Pool",
    "PoolExhausted",
    "Realtime",
    "Region",
    "Report",
    "RingBuffer",
    "RingCorrupted",
    "Step",
    "array",
    "doctor",
    "empty",
    "empty_like",
    "flush_denormals",
    "full",
    "full_like",
    "get_include",
    "is_locked",
    "load",
    "lock",
    "lock_all",
    "locked_bytes",
    "memlock_limit",
    "no_page_faults",
    "ones",
    "ones_like",
    "page_faults",
    "prefault_stack",
    "realtime",
    "region",
    "relock",
    "residency",
    "residency_map",
    "set_memlock_limit",
    "start_thread",
    "tune_malloc",
    "unlock_all",
    "zeros",
    "zeros_like",
]
