"""How much is looked at for secrets in one event: counted, so that a hostile text costs the worker no more than a long
one. What is left over is not sent.
"""

from __future__ import annotations

from time import thread_time
from typing import Final

UNCHECKED: Final = "(not checked for secrets)"
"""Stands for what could not be looked at."""

NODE_COST: Final = 64
"""What a value costs beside its bytes."""

_TOTAL: Final = 1280 * 1024
_SHARES: Final = {"details": 6, "metrics": 2}  # eighths; what is left is the message's


class Budget:
    """Bytes that the patterns of all redactors may still look at in an event, each pattern counted.

    A field cannot take what the fields behind it are to have. `user_s`: processor seconds that redactors of the
    user's may take, looked at between their calls, since nothing can stop one.
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
        """From now on it is about this field."""
        share = self._kept * _SHARES.get(field, 8) // 8
        self._kept -= share
        self.left = max(self.left, 0) + share
        self.unchecked = 0

    def spend(self, size: int) -> bool:
        """Whether so many bytes more may be looked at."""
        self.left -= size
        return self.left >= 0

    def leave_out(self) -> str:
        """What stands for a value that is not looked at."""
        self.unchecked += 1
        return UNCHECKED

    def begin_users(self) -> None:
        """A redactor of the user's begins."""
        self._user_until = thread_time() + self.user_s

    def over(self) -> bool:
        """Whether it has taken too long by now."""
        return thread_time() > self._user_until

    def end_users(self) -> bool:
        """It ended; whether redactors of the user's may go on."""
        self.user_s = self._user_until - thread_time()
        return self.user_s >= 0
