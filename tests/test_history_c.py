"""The history from C and C++: the public header, compiled as a user would."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la

pytestmark = pytest.mark.locks(1 << 20)
SOURCE = """
#include <lockedarray/history.h>

#ifdef __cplusplus
extern "C" {
#endif
int put(uintptr_t address, const float *block, uint64_t frames);
int get(uintptr_t address, float *out, uint64_t frames, int64_t *number);
int get_planar(uintptr_t address, float *out, uint64_t frames, int64_t *number);
int lend(uintptr_t address, uint64_t frames, const void **at, int64_t *number, int64_t *oldest);
#ifdef __cplusplus
}
#endif

int put(uintptr_t address, const float *block, uint64_t frames)
{
    return la_history_write(la_history_at(address), block, frames);
}

int get(uintptr_t address, float *out, uint64_t frames, int64_t *number)
{
    return la_history_read(la_history_at(address), out, frames, number);
}

int get_planar(uintptr_t address, float *out, uint64_t frames, int64_t *number)
{
    struct la_history_block planar = {(char *)out, sizeof *out, (ptrdiff_t)(frames * sizeof *out)};
    return la_history_read_strided(la_history_at(address), planar, frames, number);
}

int lend(uintptr_t address, uint64_t frames, const void **at, int64_t *number, int64_t *oldest)
{
    int state = la_history_latest(la_history_at(address), frames, at, number);
    *oldest = la_history_oldest(la_history_at(address));
    return state;
}
"""
NEWEST = 2**63 - 1


@pytest.mark.parametrize("language", [("cc", "-std=c11"), ("c++", "-std=c++17")], ids=["C", "C++"])
def test_a_program_of_its_own(tmp_path: Path, language: tuple[str, str]) -> None:
    compiler, standard = language
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    source = tmp_path / ("history.c" if compiler == "cc" else "history.cc")
    source.write_text(SOURCE)
    strict = ["-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fPIC", "-shared"]
    command = [
        compiler,
        standard,
        *strict,
        f"-I{la.get_include()}",
        str(source),
        "-o",
        str(tmp_path / "lib.so"),
    ]
    subprocess.run(command, check=True)
    lib = ctypes.CDLL(str(tmp_path / "lib.so"))
    hb = la.HistoryBuffer(100, 2)
    address, at, number, oldest = (
        ctypes.c_size_t(hb.address),
        ctypes.c_void_p(),
        ctypes.c_int64(NEWEST),
        ctypes.c_int64(),
    )
    block = np.arange(2000, dtype="f4").reshape(1000, 2)
    assert lib.put(address, block.ctypes, ctypes.c_uint64(1000)) == 0
    assert hb.latest(100).tolist() == block[-100:].tolist()

    out = np.zeros((10, 2), "f4")
    assert lib.get(address, out.ctypes, ctypes.c_uint64(10), ctypes.byref(number)) == 0
    assert number.value == 990
    assert out.tolist() == block[990:].tolist()
    number.value = 980
    planar = np.zeros((2, 10), "f4")
    assert lib.get_planar(address, planar.ctypes, ctypes.c_uint64(10), ctypes.byref(number)) == 0
    assert (number.value, planar.T.tolist()) == (980, block[980:990].tolist())

    found = ctypes.byref(at), ctypes.byref(number), ctypes.byref(oldest)
    assert lib.lend(address, ctypes.c_uint64(100), *found) == 0
    assert (at.value, number.value, oldest.value) == (hb.latest(100).ctypes.data, 900, hb.oldest)
    for frames, start, error in [(101, NEWEST, -4), (10, 991, -3)]:
        number.value = start
        assert lib.get(address, out.ctypes, ctypes.c_uint64(frames), ctypes.byref(number)) == error
