"""Files, read into locked memory."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la
from smaps import vm_lck

pytestmark = pytest.mark.locks(1 << 20)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(1000.0),
        np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4)),
        np.array(7, "c16"),
        np.zeros((0, 3)),
        np.array([(1, 2.5)], [("a", "u1"), ("ä", "f8")]),
        np.array(["x", "yz"]),
    ],
    ids=["1-D", "Fortran", "0-d", "empty", "record", "text"],
)
def test_npy(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "a.npy"
    with path.open("wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # NumPy's, that old versions cannot read it
        np.lib.format.write_array(file, array, version=(3, 0))
    loaded = la.load(path)
    assert (loaded.dtype, loaded.shape, loaded.strides) == (array.dtype, array.shape, array.strides)
    np.testing.assert_array_equal(loaded, array)
    assert la.is_locked(loaded)
    assert la.region(loaded) is not None


def test_raw(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    np.arange(12, dtype="<i2").tofile(path)
    assert la.load(path, "<i2").tolist() == list(range(12))
    assert la.load(path, "<i2", (2, 3), "F").tolist() == [[0, 2, 4], [1, 3, 5]]
    assert la.load(path, "<i2", 5).tolist() == list(range(5))


def test_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    start = vm_lck()
    path = tmp_path / "a"
    np.save(tmp_path / "a.npy", np.arange(100))
    whole = (tmp_path / "a.npy").read_bytes()
    np.savez(tmp_path / "z.npz", a=1)
    cases: list[tuple[bytes, tuple, type[Exception]]] = [
        (whole[:-8], (), ValueError),
        (whole[:20], (), ValueError),
        (b"words, and more words", (), ValueError),
        (b"", (), ValueError),
        ((tmp_path / "z.npz").read_bytes(), (), ValueError),
        (bytes(7), ("f4",), ValueError),
        (bytes(8), ("f4", 3), ValueError),
        (bytes(8), (None, 3), ValueError),
        (bytes(8), (object,), TypeError),
        (bytes(8), ("S",), ValueError),
        (bytes(8), ("f4", -1), ValueError),
    ]
    for content, arguments, error in cases:
        path.write_bytes(content)
        with pytest.raises(error):
            la.load(path, *arguments)
    with pytest.raises(FileNotFoundError):
        la.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        la.load(tmp_path)
    assert vm_lck() == start
