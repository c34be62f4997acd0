"""Lookup tables: the formula bit for bit, whatever comes in and wherever it goes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

import lockedarray as la
from table_reference import look_up, same_bits

pytestmark = pytest.mark.locks(256 << 10)

INTERPOLATIONS = ["nearest", "linear", "cubic"]
AWKWARD = [
    np.nan,
    np.inf,
    -np.inf,
    -0.0,
    5e-324,
    -5e-324,
    1e-310,
    1e308,
    -1e308,
    2.0**51,
    -(2.0**52),
    2.0**63,
    2.0**64,
]

rng = np.random.default_rng(2)


@st.composite
def given_tables(draw: st.DrawFn) -> tuple[la.LookupTable, Callable[[Any], NDArray[Any]]]:
    """A table, and the reference for it."""
    dtype, width = draw(st.sampled_from([("f4", 32), ("f8", 64)]))
    shape = draw(st.one_of(st.tuples(st.integers(1, 9)), st.tuples(st.integers(1, 5), st.integers(1, 3))))
    values = draw(npst.arrays(dtype, shape, elements=st.floats(width=width)))
    axis: dict[str, Any] = {
        "periodic": draw(st.booleans()),
        "interpolation": draw(st.sampled_from(INTERPOLATIONS)),
    }
    start, span = draw(st.floats(-1e6, 1e6)), draw(st.floats(1e-3, 1e6)) * draw(st.sampled_from([1, -1]))
    if draw(st.booleans()) and start + span != start:
        axis |= {"start": start, "stop": start + span}
    return la.LookupTable(values, **axis), lambda x: look_up(values, x, **axis)


numbers = st.one_of(
    st.floats(-3, 4),
    st.floats(),
    st.sampled_from(AWKWARD),
    st.integers(-32, 48).map(lambda k: k / 16),  # on the values, and just between them
)


@settings(max_examples=300, deadline=None)
@given(given_tables(), npst.arrays("f8", npst.array_shapes(max_dims=3, max_side=5), elements=numbers))
def test_the_formula(
    table_and_reference: tuple[la.LookupTable, Callable[[Any], NDArray[Any]]], x: NDArray[Any]
) -> None:
    table, reference = table_and_reference
    steps = table.size if table.periodic else table.size - 1
    with np.errstate(all="ignore"):
        on_values = table.start + np.arange(-2, table.size + 3) * (table.stop - table.start) / max(steps, 1)
        around = np.concatenate(
            [on_values, np.nextafter(on_values, np.inf), np.nextafter(on_values, -np.inf)]
        )
        spread = table.start + x * (table.stop - table.start)
    for positions in (x, around, spread):
        assert same_bits(table(positions), reference(positions))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(1,), (2,), (1000,), (7, 1), (33, 2), (5, 300)])
def test_long_blocks(dtype: str, interpolation: Any, periodic: bool, shape: tuple[int, ...]) -> None:
    values = rng.normal(size=shape).astype(dtype)
    axis: dict[str, Any] = {"start": -1.5, "stop": 2.25, "periodic": periodic, "interpolation": interpolation}
    table = la.LookupTable(values, **axis)
    x = rng.uniform(-4, 5, 1000)
    x[::100] = AWKWARD[:10]
    for part in (x, x[1:100], x[:129]):  # with the awkward ones, without them, and one frame over a chunk
        assert same_bits(table(part), look_up(values, part, **axis))


def test_nothing_is_fused() -> None:
    values, x = rng.normal(size=100).astype("f4"), rng.uniform(size=10_000)
    found = la.LookupTable(values)(x)
    p = x * 99
    i = p.astype(int)
    wide = values.astype("f8")
    # In float64 this product is exact, so that the sum alone is rounded to float32, as by a fused operation.
    fused = wide[i] + (p - i).astype("f4") * (values[i + 1] - values[i]).astype("f8")
    assert same_bits(found, look_up(values, x))
    assert (found != fused.astype("f4")).sum() > 100, "the control: fusing shows"


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 49, 1000, 1023])
def test_rows_far_out(n: int) -> None:
    """Wrapping is exact up to the largest numbers: against Python's integers."""
    table = la.LookupTable(np.arange(n), stop=n, periodic=True, interpolation="nearest")
    near = [
        2**k // n * n + d for k in range(1, 53) for d in (-n, -1, 0, 1, n)
    ]  # the multiples are the hardest
    x = [float(sign * whole) for sign in (1, -1) for whole in [*near, *(3**k for k in range(200))]]
    x += [whole + part for whole in (-(10**6), 10**6, 10**12) for part in (0.25, 0.5, 0.75)]
    expected = [int(np.floor(one + 0.5)) % n for one in x]
    assert table(x).tolist() == expected
    assert [table(one) for one in x] == expected, "one far value sends its whole block another way"


@pytest.mark.parametrize("periodic", [False, True])
def test_cubic_is_catmull_rom(periodic: bool) -> None:
    values, x = rng.normal(size=16), rng.uniform(0.25, 0.75, 100)
    table = la.LookupTable(values, periodic=periodic, interpolation="cubic")
    p = x * (16 if periodic else 15)
    i = p.astype(int)
    f = p - i
    powers = np.stack([np.ones_like(f), f, f**2, f**3])
    matrix = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    four = np.stack([values[i + k] for k in (-1, 0, 1, 2)])
    np.testing.assert_allclose(table(x), ((matrix.T @ powers) * four).sum(axis=0), rtol=1e-12, atol=1e-14)
    line = la.LookupTable(np.arange(16.0), interpolation="cubic")
    assert line(0.5) == 7.5


def layouts(flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """720 numbers in all that an array can be."""
    size = flat.dtype.itemsize
    odd = np.zeros(720 * size + 1, "u1")[1:].view(flat.dtype)
    odd[:] = flat
    packed = np.zeros(720, [("a", "u1"), ("b", flat.dtype)])["b"]
    packed[:] = flat
    return {
        "flat": flat,
        "backwards": flat[::-1],
        "every third": flat[::3],
        "unaligned": odd,
        "packed": packed,
        "transposed": flat.reshape(8, 9, 10).transpose(1, 2, 0),
        "repeated": np.broadcast_to(flat[:240], (3, 240)),
        "one repeated": np.broadcast_to(flat[:1], (4, 5)),
        "columns": flat.reshape(144, 5)[:, 1:4],
        "no axes": flat[5].reshape(()),
        "64 axes": flat[:4].reshape((2,) + (1,) * 62 + (2,)),
        "empty": flat[:0].reshape(0, 3),
    }


@pytest.mark.parametrize("dtype", [*"?bBhHiIlLqQefdg", ">e", ">i2", ">u8", ">f4", ">f8", ">g", "<f8"])
def test_every_dtype_and_layout(dtype: str) -> None:
    table = la.LookupTable(rng.normal(size=50), start=-20, stop=90, interpolation="linear")
    pair = la.LookupTable(rng.normal(size=(50, 2)).astype("f4"), start=-20, stop=90, periodic=True)
    numbers = rng.uniform(-120, 120, 720).astype("i8").astype(dtype)
    if np.dtype(dtype).kind == "f":
        numbers[::7] /= np.dtype(dtype).type(3)
        numbers[::50] = np.nan
        numbers[1::50] = -np.inf
    for x in layouts(numbers).values():
        wide = x.astype("f8")
        assert same_bits(table(x), look_up(table.values, wide, -20, 90))
        if x.ndim < 64:
            assert same_bits(pair(x), look_up(pair.values, wide, -20, 90, True))


def test_what_is_no_array() -> None:
    table = la.LookupTable([0.0, 10.0])
    assert table([0.1, 0.5]).tolist() == [1, 5]
    assert table(((0,), (True,))).tolist() == [[0], [10]]
    for one in (0.5, np.float32(0.5), np.array(0.5), memoryview(np.array(0.5))):
        assert table(one) == 5
        assert isinstance(table(one), np.float64), "a scalar, as from a ufunc"
    assert table(2**63) == 10
    assert la.LookupTable([[0, 10], [1, 11]])(0.5).tolist() == [0.5, 10.5]
    assert type(table(np.ma.masked_array([0.5]))) is np.ndarray
    assert table(out=np.empty(1), x=[0.5]) == table([0.5], None) == table([0.5], out=None) == [5]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("channels", [None, 1, 2, 300])
def test_every_layout_of_out(dtype: str, channels: int | None) -> None:
    values = rng.normal(size=(20,) if channels is None else (20, channels)).astype(dtype)
    table = la.LookupTable(values, interpolation="cubic")
    x = rng.uniform(size=300)
    expected = look_up(values, x, interpolation="cubic")
    shape, size = expected.shape, expected.dtype.itemsize
    wide = tuple(2 * side + 3 for side in shape)
    memory = np.full(np.prod(wide) * size + 1, 0xA5, "u1")
    for name, out in {
        "dense": memory[: expected.nbytes].view(dtype).reshape(shape),
        "unaligned": memory[1 : expected.nbytes + 1].view(dtype).reshape(shape),
        "Fortran": memory[: expected.nbytes].view(dtype).reshape(shape, order="F"),
        "gaps": memory[:-1].view(dtype).reshape(wide)[tuple(slice(1, 2 * side, 2) for side in shape)],
        "backwards": memory[: expected.nbytes].view(dtype).reshape(shape)[::-1],
    }.items():
        memory[:] = 0xA5
        alike = np.full_like(memory, 0xA5)
        assert table(x, out) is out
        assert same_bits(out, expected), name
        np.ndarray(out.shape, out.dtype, alike, out.ctypes.data - memory.ctypes.data, out.strides)[...] = (
            expected
        )
        assert (memory == alike).all(), f"{name}: nothing else is written"


def one_by_one(table: la.LookupTable, x: NDArray[Any], out: NDArray[Any]) -> None:
    """What comes of overlapping memory without any care."""
    for k in range(len(x)):
        out[k] = table(x[k])


@pytest.mark.parametrize("shift", [-300, -128, -7, -1, 0, 1, 7, 128, 300])
@pytest.mark.parametrize("step", [1, -1])
def test_out_overlaps_x(shift: int, step: int) -> None:
    table = la.LookupTable(rng.normal(size=50), periodic=True)
    control_differs = False
    for evaluate in (table, lambda x, out: one_by_one(table, x, out)):
        memory = rng.uniform(size=1400)
        x, out = memory[300:1100], memory[300 + shift : 1100 + shift][::step]
        expected = table(x.copy())
        evaluate(x, out)
        if evaluate is table:
            assert same_bits(out, expected)
        else:
            control_differs = not same_bits(out, expected)
    assert control_differs == (shift > 0 or step < 0), "the control: only so far can one go without care"


@pytest.mark.parametrize("stride", [0, 1, 4])
def test_out_overlaps_itself(stride: int) -> None:
    """Each element of x is read before any is written, also where out and x are one array."""
    table = la.LookupTable(rng.normal(size=50), periodic=True)
    memory = rng.uniform(size=201)
    alike = memory.copy()
    x, out = (np.ndarray((400,), "f8", of, 0, (stride,)) for of in (memory, alike))
    for k, value in enumerate(table(x.copy())):
        out[k] = value
    table(x, x)
    assert memory.tobytes() == alike.tobytes()


@st.composite
def views(draw: st.DrawFn, dtype: str, shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Offset and strides of an array whose elements share nothing with each other."""
    size, strides = np.dtype(dtype).itemsize, [0] * len(shape)
    reach = size
    for axis in draw(st.permutations(range(len(shape)))):
        strides[axis] = reach + draw(st.sampled_from([0, 0, 1, size]))
        reach = strides[axis] * shape[axis]
    low = 0
    for axis, length in enumerate(shape):
        if draw(st.booleans()):
            strides[axis] *= -1
            low -= strides[axis] * (length - 1)
    return low + draw(st.integers(0, 40)), tuple(strides)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(["f4", "f8", "f2", "i4", ">f8", "u1"]), st.sampled_from(["f4", "f8"]))
def test_out_overlaps_x_in_any_way(data: st.DataObject, of_x: str, of_out: str) -> None:
    channels = data.draw(st.sampled_from([None, 1, 2]))
    values = rng.normal(size=(9,) if channels is None else (9, channels)).astype(of_out)
    table = la.LookupTable(values, start=-100, stop=100)
    shape = data.draw(npst.array_shapes(max_dims=2, max_side=13))
    wide = shape if channels is None else (*shape, channels)
    memory = np.zeros(9000, "u1")
    offset, strides = data.draw(views(of_x, shape))
    x = np.ndarray(shape, of_x, memory, offset, strides)
    offset, strides = data.draw(views(of_out, wide))
    out = np.ndarray(wide, of_out, memory, offset, strides)
    x[...] = rng.uniform(-100, 100, shape).astype(of_x)
    expected = table(x.copy())
    table(x, out)
    assert same_bits(out, expected)
    if channels is None and len(shape) == 1:  # the increments of a sweep are the other thing that is read
        x[...] = rng.uniform(-9, 9, shape).astype(of_x)
        table.sweep(expected := np.empty(shape, of_out), 0, x.copy())
        table.sweep(out, 0, x)
        assert same_bits(out, expected)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(["f4", "f8"]), st.sampled_from(INTERPOLATIONS), st.booleans())
def test_the_same_bits_however_it_is_cut(
    data: st.DataObject, dtype: str, interpolation: Any, periodic: bool
) -> None:
    values = rng.normal(size=100).astype(dtype)
    values[-1:] = values[:3] = -0.0
    table = la.LookupTable(values, periodic=periodic, interpolation=interpolation)
    frames = data.draw(st.integers(1, 700))
    x = rng.uniform(-1, 2, frames)
    x[::50] = -0.0
    x[data.draw(st.integers(0, frames - 1))] = data.draw(st.sampled_from(AWKWARD))
    whole = table(x)
    memory = np.empty(frames * x.itemsize + 64, "u1")
    at = data.draw(st.integers(0, 63))
    pieces = memory[at : at + whole.nbytes].view(dtype)
    regular = st.sampled_from([1, 3, 64]).map(lambda step: list(range(0, frames, step)))
    cuts = data.draw(regular | st.lists(st.integers(0, frames), max_size=6).map(sorted))
    for first, last in zip([0, *cuts], [*cuts, frames], strict=True):
        table(x[first:last], pieces[first:last])
    assert same_bits(pieces, whole)


def wrapped(table: la.LookupTable, position: float) -> Fraction:
    """The position in the first period, exactly."""
    start, span = Fraction(table.start), Fraction(table.stop) - Fraction(table.start)
    return start + (Fraction(position) - start) % span


@settings(max_examples=200, deadline=None)
@given(given_tables(), st.integers(0, 300), numbers, numbers)
def test_a_sweep(
    table_and_reference: tuple[la.LookupTable, Callable[[Any], NDArray[Any]]],
    frames: int,
    position: float,
    increment: float,
) -> None:
    table, _ = table_and_reference
    channels = () if table.channels is None else (table.channels,)
    out = np.empty((frames, *channels), table.dtype)
    steps = rng.uniform(-1, 1, frames)
    with np.errstate(all="ignore"):
        even = position + np.arange(frames + 1) * increment
        uneven = np.add.accumulate([position, *steps])
    for positions, increments in ((even, increment), (uneven, steps), (uneven, list(steps))):
        after = table.sweep(out, position, increments)
        assert same_bits(out, table(positions[:-1]))
        if not table.periodic:
            assert np.array_equal(after, positions[-1], equal_nan=True)
        elif np.isfinite(positions[-1]) and abs(positions[-1]) < 1e12:
            low, high = sorted([table.start, table.stop])
            assert low <= after <= high
            assert after != table.stop
            error = abs(Fraction(after) - wrapped(table, positions[-1]))
            span = high - low  # just below stop and just above start are neighbours
            scale = max(abs(table.start), abs(table.stop), abs(positions[-1]))
            assert min(error, abs(error - Fraction(span))) <= 4 * np.spacing(scale)


@pytest.mark.parametrize("periodic", [False, True])
def test_a_sweep_in_pieces(periodic: bool) -> None:
    """Exact increments: the pieces have the bits of the whole."""
    table = la.LookupTable(rng.normal(size=(77, 2)), periodic=periodic, interpolation="cubic")
    increments = rng.integers(-50, 60, 1000) / 4096
    for increment in (3 / 1024, increments):
        whole, pieces = np.empty((1000, 2)), np.empty((1000, 2))
        end = table.sweep(whole, 0.25, increment)
        position = 0.25
        for first, last in ((0, 1), (1, 1), (1, 128), (128, 500), (500, 1000)):
            part = increment[first:last] if np.ndim(increment) else increment
            position = table.sweep(pieces[first:last], position, part)
        assert same_bits(pieces, whole)
        assert position == end
        if periodic:
            assert 0 <= end < 1


def test_arguments_of_a_sweep() -> None:
    table = la.LookupTable([0.0, 1, 2, 3], stop=3)
    out = np.empty(4)
    for position in (1, np.float32(1), np.array(1), True):
        assert table.sweep(out, position, np.array(0.5)) == 3
        assert out.tolist() == [1, 1.5, 2, 2.5]
    assert table.sweep(increment=np.float16(-0.5), out=out[::-1], position=2) == 0
    assert out.tolist() == [0.5, 1, 1.5, 2]
    assert table.sweep(out, 0, [True, False, True, True]) == 3
    assert out.tolist() == [0, 1, 1, 2]
    assert table.sweep(out[:0], 7, []) == table.sweep(out[:0], 7, 5) == 7
    assert isinstance(table.sweep(out, 0, 1), float)
