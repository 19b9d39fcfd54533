"""Stops the projection instead of dead-lettering when so many messages are bad that the fault is likely its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import DecodeReason, SteptrailError
from steptrail.schemas.figures import counted

Place = tuple[int, int]
"""Partition and offset."""


class _Placed(Protocol):
    def partition(self) -> Any: ...
    def offset(self) -> Any: ...


class _Letter(Protocol):
    @property
    def offset(self) -> Place: ...
    @property
    def reason(self) -> str: ...


class TooMuchPoison(SteptrailError):
    """Too many messages are not events for an accident; nothing of the last batch was written."""


MIN_MESSAGES: Final = 10_000
"""The share of bad ones is looked at over so many messages: what is less may be an accident, whatever its share."""


@dataclass(frozen=True, slots=True)
class _Stand:
    """Counts up to some message: bad ones in a row, and bad ones of all since the ratio was last checked."""

    row: int = 0
    messages: int = 0
    bad: int = 0


class PoisonLimit:
    """Stops at `in_a_row` consecutive bad messages, or when more than `ratio` of the messages are bad.

    Both count across batches, the ratio over at least `min_messages`. `in_a_row` 0 and `ratio` 1.0 disable them.
    Messages with unknown schemas count neither as good nor as bad: a newer producer is not an accident, and its
    messages can be redriven after an upgrade. `unexplained` is how many records of a batch ClickHouse alone may
    reject for an unknown reason.
    """

    def __init__(
        self,
        in_a_row: int = 10_000,
        ratio: float = 0.5,
        unexplained: int = 200,
        *,
        min_messages: int = MIN_MESSAGES,
    ) -> None:
        self._in_a_row = in_a_row
        self._ratio = ratio
        self._min_messages = min_messages
        self._stand = _Stand()
        self.unexplained = unexplained

    @classmethod
    def of(cls, settings: Settings) -> PoisonLimit:
        """Create with the limits in the settings."""
        return cls(settings.poison_max_in_a_row, settings.poison_max_ratio, settings.poison_max_unexplained)

    def check(self, messages: Sequence[_Placed], letters: Sequence[_Letter]) -> None:
        """Raise TooMuchPoison when `letters`, all those found among a batch's `messages`, are too many."""
        longest, stand = self._after(messages, letters)
        if 0 < self._in_a_row <= longest:
            raise _stop(letters, f"{counted(longest, 'message')} in a row", "STEPTRAIL_POISON_MAX_IN_A_ROW")
        if stand.messages >= self._min_messages and stand.bad > self._ratio * stand.messages:
            share = f"{stand.bad} of the latest {stand.messages} messages"
            raise _stop(letters, share, "STEPTRAIL_POISON_MAX_RATIO")

    def passed(self, messages: Sequence[_Placed], letters: Sequence[_Letter]) -> None:
        """Continue counting after a batch that is written and whose letters are sent."""
        _, stand = self._after(messages, letters)
        self._stand = stand if stand.messages < self._min_messages else _Stand(stand.row)

    def _after(self, messages: Sequence[_Placed], letters: Sequence[_Letter]) -> tuple[int, _Stand]:
        """The longest run of bad ones, if it may be too long, and the counts after these messages."""
        bad = {letter.offset for letter in letters if letter.reason != DecodeReason.UNKNOWN_SCHEMA}
        unknown = {letter.offset for letter in letters} - bad
        longest = row = self._stand.row
        if 0 < self._in_a_row <= row + len(bad):
            for place in map(_place, messages):
                row = row + 1 if place in bad else row if place in unknown else 0
                longest = max(longest, row)
        else:
            row = _bad_at_end(messages, bad, unknown, row)
        seen = self._stand.messages + len(messages) - len(unknown)
        return longest, _Stand(row, seen, self._stand.bad + len(bad))


def _bad_at_end(messages: Sequence[_Placed], bad: set[Place], unknown: set[Place], before: int) -> int:
    row = 0
    for place in map(_place, reversed(messages)):
        if place in bad:
            row += 1
        elif place not in unknown:
            return row
    return before + row


def _place(message: _Placed) -> Place:
    return message.partition(), message.offset()


def _stop(letters: Sequence[_Letter], how_many: str, setting: str) -> TooMuchPoison:
    reasons = Counter(letter.reason for letter in letters)
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    partition, offset = letters[0].offset
    return TooMuchPoison(
        f"{how_many} are no events; of the batch at hand: {counts}, first at partition {partition}, offset {offset}. "
        "Stopped before anything of this batch was written.\n"
        "Look at the messages and at what produced them. If they really are bad, raise "
        f"{setting} and start again: they are then set aside in the dead-letter topic."
    )
