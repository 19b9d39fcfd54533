"""Bounds the search for secrets in one event, by counting bytes, so that a hostile text costs the worker no more than a
long one. Values that exceed the budget are not sent.
"""

from __future__ import annotations

from time import thread_time
from typing import Final

UNCHECKED: Final = "(not checked for secrets)"
"""Stands for what could not be looked at."""

NODE_COST: Final = 64
"""What a value costs beside its bytes."""

_TOTAL: Final = 1280 * 1024
_SHARES: Final = {"details": 6, "metrics": 2}  # eighths; the message gets the rest


class Budget:
    """Bytes that the patterns of all redactors may still search in an event, counted per pattern.

    A field cannot use the share of later fields. `user_s`: CPU seconds for user-defined redactors, checked between
    their calls, since nothing can stop a running one.
    """

    __slots__ = ("_kept", "_user_until", "left", "unchecked", "user_s")

    def __init__(self, total: int = _TOTAL, user_s: float = 0.05) -> None:
        self._kept = total
        self.left = 0
        self.unchecked = 0
        """Values of the present field that were not looked at."""
        self.user_s = user_s
        self._user_until = 0.0

    def begin(self, field: str) -> None:
        """Start the budget of this field."""
        share = self._kept * _SHARES.get(field, 8) // 8
        self._kept -= share
        self.left = max(self.left, 0) + share
        self.unchecked = 0

    def spend(self, size: int) -> bool:
        """Spend `size` bytes; returns whether they were available."""
        self.left -= size
        return self.left >= 0

    def leave_out(self) -> str:
        """Return the placeholder for a value that is not searched."""
        self.unchecked += 1
        return UNCHECKED

    def begin_users(self) -> None:
        """Start timing a user-defined redactor."""
        self._user_until = thread_time() + self.user_s

    def over(self) -> bool:
        """Whether it has taken too long."""
        return thread_time() > self._user_until

    def end_users(self) -> bool:
        """Stop timing; returns whether user-defined redactors may continue."""
        self.user_s = self._user_until - thread_time()
        return self.user_s >= 0
