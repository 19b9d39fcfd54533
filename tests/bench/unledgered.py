"""The projector without its ledger, for comparison only: it stages, validates and inserts, and remembers nothing.

No claim is made or waited for, no statement asks whether a claim holds or which offsets a table has, no ledger row
is written or read back. `python -m bench.unledgered COUNT` is `bench.ours` with that taken out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection

from steptrail.projections.batch import Batch
from steptrail.projections.projection import Projection
from steptrail.projections.staging import staged


def install() -> None:
    """Take the ledger out of this process's projections."""
    Projection.open = _open  # type: ignore[method-assign]
    Projection.write = _write  # type: ignore[method-assign]


def _open(self: Projection, partitions: Collection[int]) -> dict[int, int]:
    return dict.fromkeys(partitions, 0)


def _write(self: Projection, batch: Batch) -> dict[int, int]:
    if batch.rows:
        with staged(self._clickhouse, self._spec, batch) as stage:
            for target in self._spec.targets:
                self._clickhouse.command(target.insert(stage.table, [stage.whole]))
    return {part: span.last + 1 for part, span in batch.spans.items()}


if __name__ == "__main__":
    from bench.ours import main

    install()
    print(json.dumps(main(int(sys.argv[1]))))
