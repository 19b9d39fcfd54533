"""The projector without its ledger, for comparison only: it stages, validates and inserts, and remembers nothing.

No claim is made or waited for, no statement asks whether a claim holds or which offsets a table has, no ledger row
is written or read back. `python -m bench.unledgered COUNT` is `bench.ours` with that taken out.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Collection

from steptrail.projections.delivery.batch import Batch
from steptrail.projections.delivery.ledger import Claim, Claims, Ledger

_HELD = Claim(1, uuid.UUID(int=1))


class NoLedger(Ledger):
    """Holds whatever it is asked for."""

    def refuse_recreated(self) -> None:
        """Ask nothing."""

    def claim(
        self, partitions: Collection[int], *, under: uuid.UUID | None = None, reopen: bool = False
    ) -> Claims:
        """Say yes."""
        return dict.fromkeys(partitions, _HELD)

    def high_water(self, partitions: Collection[int]) -> dict[int, int]:
        """From the beginning."""
        return dict.fromkeys(partitions, -1)

    def holds(self, claims: Claims, partitions: Collection[int], column: str) -> str:
        """Always."""
        return "1"

    def not_in(self, table: str, batch: Batch) -> str:
        """As if it were."""
        return "1"

    def record(self, claims: Claims, batch: Batch) -> set[int]:
        """Nothing is kept."""
        return set(batch.spans)


if __name__ == "__main__":
    from bench.ours import main
    from steptrail.projections.delivery import projection

    projection.Ledger = NoLedger  # type: ignore[attr-defined]
    print(json.dumps(main(int(sys.argv[1]))))
