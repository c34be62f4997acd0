"""What is compiled into ``lockedarray._native``, and how.

cffi writes the module from ``lockedarray/csrc/cdef.h``; the rest of ``csrc`` is compiled with it. The
environment's ``CFLAGS`` come before the arguments below, so a sanitizer or ``-Werror`` build needs no change
here.
"""

import sysconfig
from pathlib import Path

import cffi
import numpy

ROOT = Path(__file__).resolve().parent
CSRC = Path("lockedarray/csrc")
INCLUDE = Path("lockedarray/include")
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")


def make_ffi() -> cffi.FFI:
    """Describe the module to cffi; setuptools calls this from the project's root."""
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / CSRC).glob("*.c"))
    headers = sorted(
        str(path.relative_to(ROOT)) for folder in (CSRC, INCLUDE) for path in (ROOT / folder).rglob("*.h")
    )
    ffi = cffi.FFI()
    ffi.cdef((ROOT / CSRC / "cdef.h").read_text())
    ffi.set_source(
        "lockedarray._native",
        '#include "os.h"\n#include <stdint.h>\n#include "cdef.h"\n',
        sources=sources,
        depends=[*headers, "build_ffi.py"],
        include_dirs=[str(CSRC), str(INCLUDE), numpy.get_include()],
        define_macros=[("Py_LIMITED_API", "0x030b0000")] if STABLE_ABI else [],
        # A fused multiply-add would change a table's bits from one CPU to the next.
        extra_compile_args=["-std=gnu11", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-pthread"],
        extra_link_args=["-pthread"],
        py_limited_api=STABLE_ABI,
    )
    return ffi
