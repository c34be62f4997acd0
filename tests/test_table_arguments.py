"""What tables and their calls take and refuse, and that a refusal, or code inside of a call, does no harm."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lockedarray as la
from smaps import PAGE, vm_lck

pytestmark = pytest.mark.locks(256 << 10)

BAD: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
    (ValueError, r"at least one point.*\(0,\)", [], {}),
    (ValueError, r"at least one point.*\(0, 2\)", np.zeros((0, 2)), {}),
    (ValueError, r"at least one point.*\(2, 0\)", np.zeros((2, 0)), {}),
    (ValueError, r"\(points,\) or \(points, channels\), not \(\)", 1.0, {}),
    (ValueError, r"\(points,\) or \(points, channels\), not \(1, 1, 1\)", [[[1]]], {}),
    (ValueError, "inhomogeneous", [[1], [2, 3]], {}),
    (TypeError, "real numbers.*complex128", [1j], {}),
    (TypeError, "real numbers.*object", [None], {}),
    (TypeError, "real numbers.*object", [2**70], {}),
    (TypeError, "real numbers.*<U1", ["1"], {}),
    (TypeError, "at most 64 bits", np.ones(2, "g"), {}),
    (TypeError, "real numbers.*datetime64", np.zeros(2, "M8[s]"), {}),
    (ValueError, "start must be finite.*nan", [1, 2], {"start": np.nan}),
    (ValueError, "stop must be finite.*-inf", [1, 2], {"stop": -np.inf}),
    (ValueError, "stop must be finite", [1, 2], {"stop": 10**400}),
    (TypeError, "start must be a real number, not str", [1, 2], {"start": "1"}),
    (TypeError, "stop must be a real number, not NoneType", [1, 2], {"stop": None}),
    (TypeError, "start must be a real number, not complex", [1, 2], {"start": 1j}),
    (ValueError, "must differ.*1.0", [1, 2], {"start": 1.0}),
    (ValueError, "too wide or too narrow", [1, 2], {"start": -1e308, "stop": 1e308}),
    (ValueError, "too wide or too narrow", [1, 2, 3], {"stop": 5e-324}),
    (ValueError, "'nearest', 'linear' or 'cubic', not 'spline'", [1, 2], {"interpolation": "spline"}),
    (ValueError, "'nearest', 'linear' or 'cubic'", [1, 2], {"interpolation": ["linear"]}),
    (ValueError, "ambiguous", [1, 2], {"periodic": np.ones(2)}),
    (TypeError, "unexpected keyword", [1, 2], {"size": 3}),
]


@pytest.mark.parametrize(("error", "sentence", "values", "axis"), BAD)
def test_bad_tables_leave_nothing(
    error: type[Exception], sentence: str, values: Any, axis: dict[str, Any]
) -> None:
    pool = la.Pool(4 * PAGE)
    start, figures = vm_lck(), (pool.available, pool.in_use, pool.returned, pool.peak)
    for make in (la.LookupTable, pool.table):
        with pytest.raises(error, match=sentence):
            make(values, **axis)
        assert vm_lck() == start
        assert (pool.available, pool.in_use, pool.returned, pool.peak) == figures
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'warn'"):
        la.LookupTable([1.0], on_error="ignore")
    with pytest.raises(la.PoolExhausted):
        pool.table(np.ones(4 * PAGE))
    assert vm_lck() == start


def test_bad_calls_change_nothing() -> None:
    table, stereo = la.LookupTable([1.0, 2.0]), la.LookupTable(np.ones((2, 2), "f4"))
    x, out, frozen = np.zeros(4), np.full(4, 7.0), np.full(4, 7.0)
    frozen.flags.writeable = False
    wide = np.full((4, 2), 7, "f4")
    calls: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (TypeError, "float64, not float32", lambda: table(x, out.astype("f4"))),
        (TypeError, "float64, not >f8", lambda: table(x, out.astype(">f8"))),
        (TypeError, "float32, not float64", lambda: stereo(x, np.ones((4, 2)))),
        (TypeError, "out must be a numpy.ndarray, not .*list", lambda: table(x, [0.0] * 4)),
        (TypeError, "out must be a numpy.ndarray, not .*tuple", lambda: table(x, (out,))),
        (ValueError, re.escape("shape (4,), not (3,)"), lambda: table(x, out[:3])),
        (ValueError, re.escape("shape (4, 2), not (4,)"), lambda: stereo(x, wide[:, 0])),
        (ValueError, re.escape("shape (4, 2), not (2, 4)"), lambda: stereo(x, wide.reshape(2, 4))),
        (ValueError, "out is read-only", lambda: table(x, frozen)),
        (TypeError, "x must be real numbers, not complex128", lambda: table(x + 1j, out)),
        (TypeError, "x must be real numbers, not object", lambda: table([None], out)),
        (TypeError, "x must be real numbers, not object", lambda: table(2**70)),
        (TypeError, "x must be real numbers, not <U1", lambda: table("1")),
        (TypeError, "real numbers, not datetime64", lambda: table(np.zeros(4, "M8[s]"), out)),
        (TypeError, "real numbers, not ", lambda: table(np.zeros(4, np.dtypes.StringDType()), out)),
        (ValueError, "inhomogeneous", lambda: table([[1], [2, 3]])),
        (TypeError, "missing required argument: 'x'", lambda: table()),
        (TypeError, "missing required argument: 'x'", lambda: table(out=out)),
        (TypeError, "at most 2 positional", lambda: table(x, out, out)),
        (TypeError, "unexpected keyword argument 'where'", lambda: table(x, where=True)),
        (TypeError, "multiple values for argument 'x'", lambda: table(x, x=x)),
        (ValueError, "64|dimension", lambda: stereo(np.zeros((1,) * 64))),
        (
            ValueError,
            re.escape("shape (4, 2), not (4, 3)"),
            lambda: stereo.sweep(np.ones((4, 3), "f4"), 0, 1),
        ),
        (ValueError, re.escape("shape (4, 2), not (4,)"), lambda: stereo.sweep(wide[:, 0], 0, 1)),
        (ValueError, re.escape("shape (2,), not (2, 2)"), lambda: table.sweep(out.reshape(2, 2), 0, 1)),
        (ValueError, re.escape("shape (1,), not ()"), lambda: table.sweep(np.array(7.0), 0, 1)),
        (ValueError, "increment must have the shape", lambda: table.sweep(out, 0, x[:3])),
        (ValueError, "increment must have the shape", lambda: table.sweep(out, 0, x[None])),
        (ValueError, "out is read-only", lambda: table.sweep(frozen, 0, x)),
        (TypeError, "position must be a number, not an array", lambda: table.sweep(out, x, 1)),
        (TypeError, "position must be real numbers, not complex128", lambda: table.sweep(out, 1j, 1)),
        (TypeError, "increment must be real numbers, not <U1", lambda: table.sweep(out, 0, "1")),
        (OverflowError, "too large", lambda: table.sweep(out, 10**400, 1)),
        (TypeError, "at most 3 positional", lambda: table.sweep(out, 0, 1, 2)),
        (TypeError, "missing required argument: 'increment'", lambda: table.sweep(out, 0)),
    ]
    references = [sys.getrefcount(one) for one in (x, out, wide, frozen, table, stereo)]
    for error, sentence, call in calls:
        with pytest.raises(error, match=sentence):
            call()
    assert (out == 7).all()
    assert (wide == 7).all()
    assert (frozen == 7).all()
    assert [sys.getrefcount(one) for one in (x, out, wide, frozen, table, stereo)] == references


class Meddler:
    """What does something while it is made into an array."""

    def __init__(self, do: Callable[[], object], values: Any) -> None:
        self.do, self.values = do, values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self.do()
        return np.asarray(self.values)


def test_code_that_runs_inside_of_a_call() -> None:
    table, out = la.LookupTable([0.0, 10.0]), np.zeros(1000)
    x = np.full(1000, 0.5)

    def shrink() -> None:
        out.resize(4, refcheck=False)

    def freeze() -> None:
        out.flags.writeable = False

    for do, error in ((shrink, "shape"), (freeze, "read-only")):
        out = np.zeros(1000)
        with pytest.raises(ValueError, match=error):
            table(Meddler(do, x), out)
        out = np.zeros(1000)
        with pytest.raises(ValueError, match=error):
            table.sweep(out, 0, Meddler(do, x))
    with pytest.raises(ZeroDivisionError):
        table(Meddler(lambda: 1 / 0, x))

    kept = {"table": la.LookupTable([0.0, 10.0]), "out": np.zeros(1000)}
    keywords = {"out": kept["out"]}

    def drop_all() -> None:
        kept.clear()
        keywords.clear()
        gc.collect()

    start = vm_lck()
    assert kept["table"](Meddler(drop_all, x), **keywords)[0] == 5
    assert start - vm_lck() == PAGE, "the table lived as long as the call"


def test_an_overlapping_subclass_gets_no_say() -> None:
    """Where x must be copied, that is no moment for an __array_finalize__ that takes out's memory away."""
    table, out, ran = la.LookupTable([0.0, 10.0]), np.full(1000, 0.5), []

    class Grabby(np.ndarray):
        def __array_finalize__(self, of: Any) -> None:
            ran.append(of)

    x = out[::-1].view(Grabby)
    assert ran, "the control: a view runs it"
    ran.clear()
    table(x, out)
    table.sweep(out, 0, x)
    assert ran == []


def test_what_help_and_repr_say() -> None:
    table = la.LookupTable([[1, 2]], start=-1, stop=2.5, periodic=True, interpolation="cubic")
    found = (
        table.size,
        table.channels,
        table.dtype,
        table.start,
        table.stop,
        table.periodic,
        table.interpolation,
    )
    assert found == (1, 2, np.float64, -1, 2.5, True, "cubic")
    assert repr(table) == "<LookupTable of 1 x 2 float64 values, cubic, periodic, from -1.0 to 2.5>"
    for dtype in "f2", ">f4", "f4":
        assert la.LookupTable(np.ones(3, dtype)).dtype == np.float32
    for dtype in "?bHqd":
        assert la.LookupTable(np.ones(3, dtype)).dtype == np.float64
    source = np.arange(4.0)
    table = la.LookupTable(source[::-1])
    source[:] = 9
    assert (table.values == [3, 2, 1, 0]).all()
    with pytest.raises(AttributeError):
        table.values = source
    with pytest.raises(AttributeError):
        table.start = 3
    for heading in ("Parameters", "Returns", "Raises", "Examples"):
        assert heading in (la.LookupTable.sweep.__doc__ or "")
