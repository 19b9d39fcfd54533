"""Exponential backoff with jitter and a cap, without a limit of attempts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class BackoffPolicy:
    """Delays in seconds: `first`, then `factor` times more each time, at most `cap`.

    Each is drawn at random between half and all of that, so that consumers that failed together do not retry together.
    """

    first: float = 0.2
    factor: float = 2.0
    cap: float = 30.0

    def bound(self, failures: int) -> float:
        """The longest delay after `failures` failures in a row (1 is the first)."""
        # 64 doublings are past every cap; more would overflow a float after days of outage.
        return min(self.cap, self.first * self.factor ** min(max(failures, 1) - 1, 64))


class Backoff:
    """Counts consecutive failures; returns how long to wait after each."""

    def __init__(
        self, policy: BackoffPolicy | None = None, draw: Callable[[], float] = random.random
    ) -> None:
        self._policy = policy or BackoffPolicy()
        self._draw = draw
        self.failures = 0

    def failed(self) -> float:
        """Count one more failure; returns the seconds until the next attempt."""
        self.failures += 1
        bound = self._policy.bound(self.failures)
        return bound / 2 + bound / 2 * self._draw()

    def brief(self) -> float:
        """The first delay, for what is over in a moment; counts nothing."""
        bound = self._policy.bound(1)
        return bound / 2 + bound / 2 * self._draw()

    def succeeded(self) -> None:
        """Start from the first delay again."""
        self.failures = 0
