"""The ring inside ``@numba.njit``: Numba loads this through its entry point when it first compiles.

A ring is passed as any other argument; ``nogil=True`` lets the loop run beside other threads, and `wait_read`
and `wait_write` never keep the GIL while they sleep. Of `RingBuffer` there are `write`, `read_into`,
`wait_read`, `wait_write`, `close`, `capacity`, `channels`, `read_available`, `write_available`, `closed` and
`eof`, with its exceptions; what Python tells of types when a method is called, Numba tells when it compiles.

    @numba.njit(nogil=True)
    def gain(source, sink, block):
        while source.wait_read(len(block)):
            source.read_into(block)
            block *= 0.5
            sink.write(block, drop=True)

In compiled code a ring is its address: the caller's reference keeps it alive until the call returns, and a
ring can neither be returned nor be a global variable.
"""

# Numba has no types, may be absent where these are checked, and compiles functions that Python never calls.
# mypy: ignore-errors

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from numba.core import cgutils
from numba.core.errors import NumbaError, NumbaTypeError, TypingError
from numba.extending import (
    NativeValue,
    intrinsic,
    make_attribute_wrapper,
    models,
    overload_attribute,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np import numpy_support
from numba.types import ExternalFunction, float64, int32, int64, intp, uint64, uintp, void

from ._native import RING_CLOSED, RING_CORRUPTED, ffi, lib
from .errors import RingCorrupted
from .ring import RingBuffer

CORRUPTED, CLOSED = -1, -2  # LA_RING_CORRUPTED, LA_RING_CLOSED
READY, INTERRUPTED = 1, 3  # LA_RING_READY, LA_RING_INTERRUPTED

# By name, not by address, so that Numba can keep what it compiles (cache=True) for another process.
CALLS = {
    "ring_call_write": int64(uintp, uintp, uint64, intp, intp, int32),
    "ring_call_read": int64(uintp, uintp, uint64, intp, intp, int32),
    "ring_call_capacity": uint64(uintp),
    "ring_call_held": int64(uintp),
    "ring_call_closed": int32(uintp),
    "ring_call_close": void(uintp),
    "ring_call_wait": int32(uintp, int32, uint64, float64, uintp),
}


def register() -> None:
    """Tell LLVM where the functions are."""
    for name in CALLS:
        address = int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
        llvmlite.binding.add_symbol(f"lockedarray_{name}", address)
    # Where Numba looks first: a call with a ring then costs a third of what it costs otherwise.
    RingBuffer._numba_type_ = property(lambda ring: ring_type(ring.dtype, ring.channels))


def call(name: str) -> ExternalFunction:
    return ExternalFunction(f"lockedarray_{name}", CALLS[name])


ring_call_write = call("ring_call_write")
ring_call_read = call("ring_call_read")
ring_call_capacity = call("ring_call_capacity")
ring_call_held = call("ring_call_held")
ring_call_closed = call("ring_call_closed")
ring_call_close = call("ring_call_close")
ring_call_wait = call("ring_call_wait")
# The thread state that has the GIL, of this thread or (before 3.12) of any.
current_thread = ExternalFunction(
    "PyThreadState_GetUnchecked" if sys.version_info >= (3, 13) else "_PyThreadState_UncheckedGet", uintp()
)


# What a ring is to Numba


class RingType(numba.types.Type):
    """A RingBuffer of one dtype and number of channels."""

    def __init__(self, dtype: numba.types.Type, itemsize: int, channels: int | None) -> None:
        self.dtype, self.itemsize, self.channels = dtype, itemsize, channels
        super().__init__(f"RingBuffer({dtype}, channels={channels})")


@register_model(RingType)
class RingModel(models.StructModel):
    def __init__(self, manager: Any, kind: RingType) -> None:
        super().__init__(manager, kind, [("address", uintp)])


make_attribute_wrapper(RingType, "address", "address")


@cache
def ring_type(dtype: np.dtype[Any], channels: int | None) -> RingType:
    try:
        item = numpy_support.from_dtype(dtype)
    except NumbaError as error:
        raise NumbaTypeError(f"Numba has no type for the ring's dtype, {dtype}") from error
    return RingType(item, dtype.itemsize, channels)


@typeof_impl.register(RingBuffer)
def type_of_ring(ring: RingBuffer, context: Any) -> RingType | None:
    if context.purpose.name == "constant":
        return None  # a global's address would outlive it
    return ring_type(ring.dtype, ring.channels)


@unbox(RingType)
def unbox_ring(kind: RingType, ring: Any, c: Any) -> NativeValue:
    number = c.pyapi.object_getattr_string(ring, "address")
    value = cgutils.create_struct_proxy(kind)(c.context, c.builder)
    value.address = c.pyapi.long_as_ulonglong(number)
    c.pyapi.decref(number)
    return NativeValue(value._getvalue(), is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


# Blocks


def check_block(ring: RingType, block: Any, name: str) -> None:
    """Refuse a block of another type, while the loop is compiled."""
    if not isinstance(block, numba.types.Array):
        raise TypingError(f"{name} must be an array of {ring.dtype}, not {block}")
    if block.dtype != ring.dtype:
        raise TypingError(f"{name} must have the ring's dtype, {ring.dtype}, not {block.dtype}")
    if block.ndim != (1 if ring.channels is None else 2) and not (block.ndim == 1 == ring.channels):
        shape = "(frames,)" if ring.channels is None else f"(frames, {ring.channels})"
        raise TypingError(f"{name} must have the shape {shape}, not {block.ndim} axes")


def block_layout(ring: RingType, block: Any, name: str) -> Any:
    """Return a compiled function that gives a block's address, frames and strides."""
    itemsize, channels, ndim = ring.itemsize, ring.channels, block.ndim
    words = f"{name} must have the shape (frames, {channels})"

    def flat(block: Any) -> Any:
        return block.ctypes.data, block.shape[0], block.strides[0], itemsize

    def single(block: Any) -> Any:
        if block.shape[1] != 1:
            raise ValueError(words)
        return block.ctypes.data, block.shape[0], block.strides[0], itemsize

    def wide(block: Any) -> Any:
        if block.shape[1] != channels:
            raise ValueError(words)
        return block.ctypes.data, block.shape[0], block.strides[0], block.strides[1]

    return numba.extending.register_jitable(flat if ndim == 1 else single if channels == 1 else wide)


@overload_method(RingType, "write")
def ring_write(ring: Any, block: Any, drop: Any = False) -> Callable[..., Any]:
    check_block(ring, block, "block")
    layout = block_layout(ring, block, "block")

    def write(ring: Any, block: Any, drop: Any = False) -> Any:
        at, frames, frame_stride, channel_stride = layout(block)
        taken = ring_call_write(ring.address, at, frames, frame_stride, channel_stride, 1 if drop else 0)
        if taken == CLOSED:
            raise BrokenPipeError(RING_CLOSED)
        if taken < 0:
            raise RingCorrupted(RING_CORRUPTED)
        return taken

    return write


@overload_method(RingType, "read_into")
def ring_read_into(ring: Any, out: Any, fill: Any = None) -> Callable[..., Any]:
    check_block(ring, out, "out")
    if not out.mutable:
        raise TypingError("out must be writeable")
    layout = block_layout(ring, out, "out")

    def read_into(ring: Any, out: Any, fill: Any = None) -> Any:
        at, frames, frame_stride, channel_stride = layout(out)
        fills = 0 if fill is None else 1
        taken = ring_call_read(ring.address, at, frames, frame_stride, channel_stride, fills)
        if taken < 0:
            raise RingCorrupted(RING_CORRUPTED)
        if fill is not None:
            out[taken:] = fill
        return taken

    return read_into


# What the ring tells


@numba.extending.register_jitable
def held(ring: Any) -> Any:
    frames = ring_call_held(ring.address)
    if frames < 0:
        raise RingCorrupted(RING_CORRUPTED)
    return frames


def tells(name: str, value: Callable[[Any], Any]) -> None:
    overload_attribute(RingType, name)(lambda ring: value)


tells("capacity", lambda ring: int64(ring_call_capacity(ring.address)))
tells("read_available", lambda ring: held(ring))
tells("write_available", lambda ring: int64(ring_call_capacity(ring.address)) - held(ring))
tells("closed", lambda ring: ring_call_closed(ring.address) != 0)
tells("eof", lambda ring: ring_call_closed(ring.address) != 0 and held(ring) == 0)


@overload_attribute(RingType, "channels")
def ring_channels(ring):  # Numba compares its arguments with those of the lambda, which has no types
    channels = ring.channels
    return lambda ring: channels


@overload_method(RingType, "close")
def ring_close(ring: Any) -> Callable[..., Any]:

    def close(ring: Any) -> None:
        ring_call_close(ring.address)

    return close


# Waiting


@intrinsic
def raise_what_is_set(typing: Any) -> Any:
    """Return to Python with the exception that a signal's handler has raised."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        with builder.if_then(cgutils.true_bit):
            context.call_conv.return_exc(builder)
        return context.get_dummy_value()

    return void(), generate


@numba.extending.register_jitable
def wait(ring: Any, reads: Any, n: Any, seconds: Any) -> Any:
    if n < 0:
        raise ValueError("n must be a number of frames, not negative")
    if n > ring_call_capacity(ring.address):
        raise ValueError("n is more than the ring has room for: so many frames can never be there at once")
    if not seconds >= 0:
        raise ValueError("timeout must be a number of seconds that is not negative, or None")
    state = ring_call_wait(ring.address, reads, n, seconds, current_thread())
    if state == CORRUPTED:
        raise RingCorrupted(RING_CORRUPTED)
    if state == INTERRUPTED:
        raise_what_is_set()
    return state == READY


def check_wait(n: Any, timeout: Any) -> None:
    if not isinstance(n, numba.types.Integer | numba.types.IntegerLiteral):
        raise TypingError(f"n must be an integer, not {n}")
    kinds = numba.types.Number | numba.types.NoneType | numba.types.Omitted | numba.types.Optional
    if not isinstance(timeout, kinds) and timeout is not None:
        raise TypingError(f"timeout must be a number of seconds, or None, not {timeout}")


@overload_method(RingType, "wait_read")
def ring_wait_read(ring: Any, n: Any, timeout: Any = None) -> Callable[..., Any]:
    check_wait(n, timeout)

    def wait_read(ring: Any, n: Any, timeout: Any = None) -> Any:
        return wait(ring, 1, n, np.inf if timeout is None else float(timeout))

    return wait_read


@overload_method(RingType, "wait_write")
def ring_wait_write(ring: Any, n: Any, timeout: Any = None) -> Callable[..., Any]:
    check_wait(n, timeout)

    def wait_write(ring: Any, n: Any, timeout: Any = None) -> Any:
        return wait(ring, 0, n, np.inf if timeout is None else float(timeout))

    return wait_write
