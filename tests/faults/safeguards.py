"""Taking a safeguard out, to see that rows of the matrix notice it. Done in the children, by name.

Each is the smallest change that makes the real code do without: what the statements or handlers do otherwise
stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any

VARIABLE = "FAULTS_WITHOUT"

NAMES = {
    "guard": "inserts do not ask which offsets the target has already",
    "claim": "statements do not check that their claim still holds",
    "wait": "a claim does not wait for statements of a predecessor",
    "readback": "offsets are committed without reading back which ledger rows are there",
    "fork": "nothing is done in a forked child",
}


def remove(name: str | None) -> None:
    """Take out the safeguard of this name; None: leave all in place. Before steptrail.producers is imported."""
    if not name:
        return
    if name == "fork":
        _without_fork_handler()
    else:
        _LEDGER[name]()


def instead_of(owner: object, name: str, by: object) -> None:
    """Replace what `owner` calls `name`. Raises AttributeError where nothing is called so: a fault would be none."""
    getattr(owner, name)
    setattr(owner, name, by)


def _without_guard() -> None:
    from steptrail.projections.delivery.ledger import Ledger

    def not_in(self: Ledger, table: str, batch: Any) -> str:
        return "1"

    instead_of(Ledger, "not_in", not_in)


def _without_claim() -> None:
    from steptrail.projections.delivery.ledger import Ledger

    def holds(self: Ledger, claims: Any, partitions: Collection[int], column: str) -> str:
        return f"{column} IN ({', '.join(map(str, sorted(partitions)))})"

    def all_held(self: Ledger, claims: Any) -> str:
        return "1"

    instead_of(Ledger, "holds", holds)
    instead_of(Ledger, "all_held", all_held)


def _without_wait() -> None:
    from steptrail.projections.delivery.ledger import Ledger

    def wait_for_predecessors(self: Ledger, partitions: Collection[int], **_: Any) -> None:
        return

    instead_of(Ledger, "wait_for_predecessors", wait_for_predecessors)


def _without_readback() -> None:
    from steptrail.projections.delivery.ledger import Ledger

    recorded = Ledger.record

    def record(self: Ledger, claims: Any, batch: Any) -> set[int]:
        recorded(self, claims, batch)
        return {partition for partition in batch.spans if partition in claims}

    instead_of(Ledger, "record", record)


def _without_fork_handler() -> None:
    register = os.register_at_fork

    def register_others(**handlers: Callable[[], Any]) -> None:
        left = {
            when: handler
            for when, handler in handlers.items()
            if getattr(handler, "__module__", "") != "steptrail.producers.delivery.process_lifecycle"
        }
        if left:
            register(**left)

    os.register_at_fork = register_others  # type: ignore[assignment]


_LEDGER = {
    "guard": _without_guard,
    "claim": _without_claim,
    "wait": _without_wait,
    "readback": _without_readback,
}
