"""Answers kept for as long as their cost justifies, so that equal questions cost the store little, however many ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from steptrail.consumers.web.found import Found
from steptrail.consumers.web.models.common import Answer

WORTH: Final = 50.0
"""An answer is good for so many times as long as it took: one question takes a fiftieth of one thread at most."""
MOST_S: Final = 10.0
"""No answer is good for longer."""
_GRACE: Final = 1.5
"""Within so many times that, whoever asks is still given it, and a newer one is asked for: nobody waits."""
RENEWAL_S: Final = 10.0
"""While that newer one is waited for, it is given for so long at most: renewals take turns, too."""
_MOST_KEPT: Final = 500
_MOST_BYTES: Final = 8_000_000
_MOST_BYTES_OF_ONE: Final = 1_000_000


@dataclass
class _Kept:
    found: Found[Any]
    weight: int
    good_until: float
    given_until: float
    renewing: bool = False


class KeptAnswers:
    """Answers by key, and tuples of values; bounded in number and in bytes, the oldest make room.

    An era ends with every change: nothing that was asked for in an earlier one is given or kept. Nothing of unknown
    freshness is kept, and no errors. Safe to share between threads.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._kept: dict[Hashable, _Kept] = {}
        self._bytes = 0
        self.era = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """How much is kept: answers as JSON, and keys as text."""
        return self._bytes

    def get(self, key: Hashable) -> Found[Any] | None:
        """The answer that is kept, or None."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            if self.clock() >= kept.given_until:
                self._remove(key)
                return None
            return kept.found

    def claim_renewal(self, key: Hashable) -> bool:
        """Whether the answer is past its time and nobody else asks for a newer one: the caller is to, now."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.renewing or self.clock() < kept.good_until:
                return False
            kept.renewing = True
            kept.given_until = max(kept.given_until, self.clock() + RENEWAL_S)
            return True

    def keep(self, key: Hashable, era: int, found: Found[Any]) -> None:
        """Keep what was asked for at `found.at` in that era, if it is to be kept."""
        now = self.clock()
        good_for = min(WORTH * (now - found.at), MOST_S)
        keeps = isinstance(found.result, (Answer, tuple)) and found.freshness.problem is None and good_for > 0
        weight = _weight(found) + len(repr(key)) if keeps else 0
        with self._lock:
            if era != self.era:
                return
            self._remove(key)
            if not keeps or weight > _MOST_BYTES_OF_ONE:
                return
            self._kept[key] = _Kept(found, weight, now + good_for, now + _GRACE * good_for)
            self._bytes += weight
            while len(self._kept) > _MOST_KEPT or self._bytes > _MOST_BYTES:
                self._remove(next(iter(self._kept)))

    def drop(self, key: Hashable) -> None:
        """Keep this answer no longer: no newer one could be had."""
        with self._lock:
            self._remove(key)

    def clear(self) -> None:
        """Something was changed: begin a new era, with nothing."""
        with self._lock:
            self.era += 1
            self._kept.clear()
            self._bytes = 0

    def _remove(self, key: Hashable) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self._bytes -= kept.weight


def _weight(found: Found[Any]) -> int:
    return len(found.rendered[1]) if isinstance(found.result, Answer) else len(repr(found.result))
