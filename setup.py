"""What pyproject.toml cannot say: the cffi module, and that one wheel serves every CPython from 3.11."""

import sysconfig

from setuptools import setup

# A free-threaded interpreter has no stable ABI to build against.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["build_ffi.py:make_ffi"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
)
