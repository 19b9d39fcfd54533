"""One time budget that several waits share, such as those of a shutdown."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """A point in time that several waits share, so that together they never take longer.

    `seconds` from now by `clock` (monotonic seconds). Pass the same Deadline to every wait; each uses `remaining()` as
    its timeout.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._at - self._clock())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0.0

    def share(self, fraction: float) -> Deadline:
        """A new deadline for `fraction` of the remaining time."""
        return Deadline(self.remaining() * fraction, self._clock)
