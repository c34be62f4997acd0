"""Every test begins without what others left, and with as much memory to lock as it says it needs."""

from __future__ import annotations

import gc

import pytest

import lockedarray as la


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "locks(nbytes): needs to lock so much memory")


def pytest_runtest_setup(item: pytest.Item) -> None:
    gc.collect()
    for marker in item.iter_markers("locks"):
        try:
            la.empty(marker.args[0], "u1")
        except la.LockError:
            pytest.skip(f"needs to lock {marker.args[0]:,} bytes")
