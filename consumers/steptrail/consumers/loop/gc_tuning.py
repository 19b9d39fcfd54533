"""Tuning of Python's garbage collector for streams of records."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# A batch is a hundred thousand messages, each an object that the collector tracks, and none of them part of a
# cycle. By the default (700) it walks them over and over: a fifth of all that reading a record costs.
_BETWEEN_LOOKS = 100_000


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Inside, the garbage collector runs only after many new objects, and skips those that exist already."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_BETWEEN_LOOKS, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
