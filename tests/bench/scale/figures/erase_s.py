"""Erasing one document among ten million events, until no query shows it."""

from __future__ import annotations

import time

from bench.figure import Figure
from bench.scale.answers import Counting
from bench.scale.questions import documents
from bench.scale.world import World
from steptrail.projections.lifecycle.erasure import begin, finish, remove, rows_of, selected
from steptrail.projections.reading.reader import Reader

BOUND_S = 10
_DOCUMENTS = 3


def measure(world: World) -> Figure:
    """The longest of some documents, one after the other; taking the rows out of the files afterwards beside it."""
    hidden: list[float] = []
    removed: list[float] = []
    counted = 0
    with world.connect() as clickhouse:
        for pipeline, doc_id in documents(clickhouse, world.events, _DOCUMENTS + 50)[-_DOCUMENTS:]:
            started = time.perf_counter()
            with selected(clickhouse, [(pipeline, doc_id)]) as selection:
                found = rows_of(clickhouse, selection)
                rows = found[pipeline, doc_id]
                erasure = begin(clickhouse, selection, rows, requested_by="bench")
                erasure = finish(clickhouse, erasure, selection)
            assert not Reader(Counting(clickhouse)).timeline(pipeline, doc_id).items
            hidden.append(time.perf_counter() - started)
            counted += sum(rows.values())
            started = time.perf_counter()
            remove(clickhouse, erasure)
            removed.append(time.perf_counter() - started)
    return Figure(
        "erase_s",
        max(hidden),
        "s",
        f"<= {BOUND_S}",
        max(hidden) <= BOUND_S,
        {"hidden_s": hidden, "taken_out_of_files_s": removed, "rows": counted},
    )
