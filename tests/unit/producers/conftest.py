from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from steptrail.producers import InMemoryStorage, ProcessingStepManager


@pytest.fixture
def manager() -> ProcessingStepManager:
    """A manager whose steps are kept in memory."""
    return ProcessingStepManager(InMemoryStorage())


@pytest.fixture
def no_gc_callbacks() -> Iterator[None]:
    """For tests of real signals: Python swallows what a handler raises within a callback of the collector, and
    Hypothesis leaves one behind in the process. The same holds for `__del__` of an emitter that an earlier test left.
    """
    gc.collect()
    before = list(gc.callbacks)
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = before
