"""NumPy arrays that stay in RAM: locked, prefaulted memory for real-time code."""

from . import _native, errors

if _native.lib.native_init(id(_native)) < 0:
    raise ImportError("lockedarray could not set up its native module")
_native.install(errors.refused, errors.PoolExhausted, errors.RingCorrupted, errors.check_room)

from ._native import Region  # noqa: E402
from .arrays import empty, full, ones, zeros  # noqa: E402
from .errors import LockError, LockWarning  # noqa: E402
from .limits import locked_bytes, memlock_limit, set_memlock_limit  # noqa: E402

__all__ = [
    "LockError",
    "LockWarning",
    "Region",
    "empty",
    "full",
    "locked_bytes",
    "memlock_limit",
    "ones",
    "set_memlock_limit",
    "zeros",
]
