"""What every page needs, kept for a moment: whoever asks meanwhile is given the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

R = TypeVar("R")

_MOST_KEPT: Final = 1000


@dataclass
class _Entry(Generic[R]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    found: list[R] = field(default_factory=list)  # one, or none yet
    good_until: float = 0.0


class Kept(Generic[R]):
    """What questions found, by key, each good for `good_for_s` seconds. Equal keys are asked one at a time."""

    def __init__(self, good_for_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._good_for_s, self._clock = good_for_s, clock
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry[R]] = {}

    def get(self, key: Hashable, question: Callable[[], R]) -> R:
        """What `question` finds, or found a moment ago. An empty answer is not kept; raises what `question` does."""
        with self._lock:
            if len(self._entries) > _MOST_KEPT:
                self._entries.clear()
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock:
            if entry.found and self._clock() < entry.good_until:
                return entry.found[0]
            entry.found = []
            found = question()
            if found:
                entry.found, entry.good_until = [found], self._clock() + self._good_for_s
            return found

    def clear(self) -> None:
        """Keep nothing: whoever asks from now on asks anew."""
        with self._lock:
            self._entries = {}
