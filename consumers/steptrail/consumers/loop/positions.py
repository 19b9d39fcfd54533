"""Where to resume reading each partition: a pure decision from the ledger, the group and the broker."""

from __future__ import annotations

from dataclasses import dataclass

from steptrail.schemas.errors import InfrastructureError


class LogShorterThanLedger(InfrastructureError):
    """The partition ends before offsets that were projected already.

    Either this broker has not caught up yet, and waiting mends it, or the log was cut (an unclean leader
    election, a restored backup). Reading on would take new records for ones already projected, so nothing is
    read until the log is as long again, or the topic has been created anew under another name.
    """


@dataclass(frozen=True)
class Gap:
    """Offsets that will never be projected: `first` to `last`, both inclusive, and why."""

    partition: int
    first: int
    last: int
    reason: str


@dataclass(frozen=True)
class Start:
    """Where reading goes on in a partition, and what was missed before it, if anything.

    `projected` is the ledger's word: the offset after the last one that is projected, 0 if none is.
    """

    partition: int
    offset: int
    projected: int
    gap: Gap | None = None


def start_of(partition: int, ledger_next: int, committed: int | None, low: int, high: int) -> Start:
    """Decide where to read on.

    `ledger_next`: the ledger's high-water mark plus one, 0 when nothing of the partition was projected.
    `committed`: the group's committed offset, None when it has none. `low`, `high`: the first offset that the
    broker still has, and the one after its last.

    A partition of which nothing was projected or committed starts at `low`, the earliest there is. In every
    other case the offsets between are a gap, which is recorded and logged: never a silent jump.
    Raises LogShorterThanLedger.
    """
    position = max(ledger_next, committed or 0)
    if position > high:
        raise LogShorterThanLedger(
            f"partition {partition} ends at offset {high}, but everything before {position} was read already: "
            f"waiting until its log is that long again (was it truncated, or the topic created anew?)"
        )
    if ledger_next == 0 and committed is None:
        return Start(partition, low, ledger_next)
    offset = max(position, low)
    if offset == ledger_next:
        return Start(partition, offset, ledger_next)
    expired = "expired before they were read"
    reason = expired if low > position else "committed by the group, but not in the ledger"
    return Start(partition, offset, ledger_next, Gap(partition, ledger_next, offset - 1, reason))
