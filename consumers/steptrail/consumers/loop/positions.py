"""Decides where to resume each partition, from the ledger, the group and the broker. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from steptrail.schemas.errors import InfrastructureError


class LogShorterThanLedger(InfrastructureError):
    """The partition ends before offsets that are already projected.

    Either this broker has not caught up yet, and waiting resolves it, or the log was truncated (an unclean leader
    election, a restored backup). Continuing would mistake new records for projected ones, so nothing is read until the
    log is as long again, or the topic is recreated under another name.
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
    """Where to resume a partition, and the gap before it, if any.

    `projected` comes from the ledger: the offset after the last projected one, 0 if there is none.
    """

    partition: int
    offset: int
    projected: int
    gap: Gap | None = None


def start_of(partition: int, ledger_next: int, committed: int | None, low: int, high: int) -> Start:
    """Decide where to resume.

    `ledger_next`: the ledger's high-water mark plus one, 0 if nothing of the partition was projected.
    `committed`: the group's committed offset, None if it has none. `low`, `high`: the first offset that the broker
    still has, and the one after its last.

    A partition of which nothing was projected or committed starts at `low`, the earliest available. In every other
    case the offsets in between are a gap, which is recorded and logged: never a silent jump.
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
