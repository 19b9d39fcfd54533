"""When so much is bad that the fault is more likely ours: stop instead of dead-lettering it all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from steptrail.schemas.errors import SteptrailError
from steptrail.schemas.figures import counted


class _Placed(Protocol):
    def partition(self) -> Any: ...
    def offset(self) -> Any: ...


class _Letter(Protocol):
    @property
    def offset(self) -> tuple[int, int]: ...
    @property
    def reason(self) -> str: ...


class TooMuchPoison(SteptrailError):
    """More messages do not decode than can be an accident; nothing of the batch was written or set aside."""


class PoisonLimit:
    """Stops at `in_a_row` bad messages without a good one between, or when more than `ratio` of a batch is bad.

    The ratio is looked at from `min_events` in a batch on, so that a few odd ones in a quiet hour stop nothing.
    `in_a_row` 0 and `ratio` 1.0 switch each off.
    """

    def __init__(self, in_a_row: int = 10_000, ratio: float = 0.5, min_events: int = 1_000) -> None:
        self._in_a_row = in_a_row
        self._ratio = ratio
        self._min_events = min_events

    def check(self, messages: Sequence[_Placed], letters: Sequence[_Letter]) -> None:
        """Raise TooMuchPoison when `letters`, found among `messages`, are too many."""
        if not letters:
            return
        if len(messages) >= self._min_events and len(letters) > self._ratio * len(messages):
            raise self._stop(letters, f"{len(letters)} of {counted(len(messages), 'message')}")
        if 0 < self._in_a_row <= len(letters):
            bad = {letter.offset for letter in letters}
            row = 0
            for message in messages:
                row = row + 1 if (message.partition(), message.offset()) in bad else 0
                if row >= self._in_a_row:
                    raise self._stop(letters, f"{counted(row, 'message')} in a row")

    def _stop(self, letters: Sequence[_Letter], how_many: str) -> TooMuchPoison:
        first = letters[0]
        partition, offset = first.offset
        return TooMuchPoison(
            f"{how_many} are no events that this program knows, first at partition {partition}, offset {offset} "
            f"({first.reason}): stopped before setting them aside.\n"
            "If emitters are newer than this consumer, upgrade it. If the messages really are bad, raise "
            "STEPTRAIL_POISON_MAX_RATIO and STEPTRAIL_POISON_MAX_IN_A_ROW and start again."
        )
