"""Every test begins without what others left: figures of the whole process must be its own."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def _nothing_left_over() -> None:
    gc.collect()
