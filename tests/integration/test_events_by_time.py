"""The projection by time: a store of an earlier version gets it, and no list shows less for its being narrow."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

import pytest

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.clickhouse.queries import query, scope
from steptrail.projections.lifecycle.mutations import wait_for_mutations
from steptrail.projections.reading.reader import Reader
from steptrail.projections.reading.records import StepRecord
from steptrail.projections.reading.spans import AFTER_ALL, BEFORE_ALL
from steptrail.projections.reading.windows import COMMON
from steptrail.schemas.status import ProcessingStatus
from support.effort import only_some
from support.stack import Stack, new_workspace

BEFORE_IT = 21
EVENTS = 20_000
RARE = ("WARNING", "ERROR", "FAILED", "SKIPPED")

# Every third event stands there twice, as one that was sent again; several have the same time.
_INSERT = """
INSERT INTO steps
    (pipeline, doc_id, step_name, status, timestamp, broker_time, event_id, execution_id, attempt, duration_ms,
     error_type, error_message, details, metrics, depends_on, trace_id, worker, kafka_offset)
SELECT concat('p', toString(intDiv(n, 7) % 4)), concat('d', toString(sipHash64(n) % 500)), 's',
    ['PENDING', 'RUNNING', 'SUCCESS', 'WARNING', 'ERROR', 'FAILED', 'SKIPPED'][n % 7 + 1],
    fromUnixTimestamp64Micro(1750000000000000 + toInt64(intDiv(n, 5)) * 900000, 'UTC'),
    toDateTime64('2025-06-15 20:00:00', 3, 'UTC') + toIntervalMillisecond(number), reinterpretAsUUID(sipHash128(n)),
    reinterpretAsUUID(sipHash128(n, 2)), n % 3 + 1, if(n % 2 = 0, NULL, n / 3), if(n % 7 IN (4, 5), 'E', NULL),
    if(n % 7 IN (4, 5), concat('"boom" ', char(10), toString(n)), NULL), concat('{"n":"\\\\"', toString(n), '"}'),
    concat('{"m":', toString(n), '}'), if(n % 2 = 0, '[]', '["a]","b"]'), if(n % 5 = 0, 'trace', NULL), 'w:1', number
FROM (SELECT number, if(number % 3 = 2, number - 1, number) AS n FROM numbers({events:UInt64}))
"""


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[tuple[ClickHouse, list[Any]]]:
    """A store that had events before the migration, and what they were then."""
    with new_workspace(stack) as settings:
        url = stack.with_database(f"{settings.topic_prefix}_old")
        with connect(settings.with_values(clickhouse=url)) as clickhouse:
            try:
                migrate(clickhouse, to=BEFORE_IT)
                clickhouse.command(_INSERT, {"events": EVENTS})
                known = _everything(clickhouse)
                migrate(clickhouse)
                yield clickhouse, known
            finally:
                clickhouse.command(f"DROP DATABASE IF EXISTS `{clickhouse.database}` SYNC")


def _everything(clickhouse: ClickHouse) -> list[Any]:
    """All that a list shows, copies included, as it stands in the table, the latest first."""
    return clickhouse.query(
        "SELECT pipeline, doc_id, step_name, toString(status), toUnixTimestamp64Micro(timestamp), event_id, "
        "execution_id, attempt, duration_ms, error_type, error_message, details, metrics, depends_on, trace_id, worker "
        "FROM steps ORDER BY timestamp DESC, toUInt128(event_id) DESC SETTINGS optimize_use_projections = 0"
    )


def _projected(clickhouse: ClickHouse) -> dict[str, int]:
    """Rows by projection."""
    return dict(
        clickhouse.query(
            "SELECT name, sum(rows) FROM system.projection_parts WHERE active AND database = currentDatabase() "
            "AND table = 'steps' GROUP BY name"
        )
    )


def test_rows_of_an_earlier_version_stay_and_get_the_projection(store: tuple[ClickHouse, list[Any]]) -> None:
    """In the background; the projection before it goes. Rows that come afterwards have it at once."""
    clickhouse, known = store
    wait_for_mutations(clickhouse, "steps", timeout=300)
    assert _everything(clickhouse) == known
    assert _projected(clickhouse) == {"p_by_time": EVENTS}
    assert clickhouse.query("SELECT uniq(run) > 200, countIf(notEmpty(rare_texts)) FROM steps") == [
        (True, sum(row[3] in RARE for row in known))
    ]


EVERY = tuple(status.value for status in ProcessingStatus)


@pytest.mark.parametrize(
    ("statuses", "pipeline"),
    only_some(
        (RARE, None), (("ERROR",), "p3"), (EVERY, None),
        rest=[(RARE, "p3"), (("ERROR",), None), (EVERY, "p3")],
    ),
)  # fmt: skip
def test_a_list_shows_all_of_each_event(
    store: tuple[ClickHouse, list[Any]], statuses: tuple[str, ...], pipeline: str | None
) -> None:
    """Whether its columns are in the projection or looked up by the primary key, page by page, either way."""
    clickhouse, known = store
    wanted = [row for row in known if row[3] in statuses and pipeline in (None, row[0])]
    wanted = list({row[5]: row for row in wanted}.values())
    reader = Reader(clickhouse)
    for newest_first in (True, False):
        after: Cursor | None = None
        found: list[StepRecord] = []
        while True:
            page = reader.events(
                pipeline,
                after,
                6_000,
                statuses=[ProcessingStatus(s) for s in statuses],
                newest_first=newest_first,
            )
            found += page.items
            after = page.next
            if after is None:
                break
        expected = wanted if newest_first else wanted[::-1]
        assert [
            (
                *(
                    each.pipeline,
                    each.doc_id,
                    each.step_name,
                    each.status.value,
                    each.cursor.micros,
                    each.event_id,
                ),
                *(each.execution_id, each.attempt, each.duration_ms, each.error_type, each.error_message),
                *(each.details, each.metrics, each.depends_on, each.trace_id, each.worker),
            )
            for each in found
        ] == [(*row[:11], *map(json.loads, row[11:14]), *row[14:]) for row in expected]


@pytest.mark.parametrize(("statuses", "name"), [(RARE, "rare_events_backward"), (COMMON, "events_backward")])
def test_events_are_found_in_the_projection(
    store: tuple[ClickHouse, list[Any]], statuses: Collection[str], name: str
) -> None:
    """By status and time, without reading the table."""
    clickhouse, _ = store
    wait_for_mutations(clickhouse, "steps", timeout=300)
    parameters = {
        **scope(None),
        "statuses": sorted(statuses),
        "start_us": BEFORE_ALL,
        "end_us": AFTER_ALL,
        "from_us": AFTER_ALL,
        "from_id": str(UUID(int=2**128 - 1)),
        "fetch": 10,
    }
    found = query(name)
    if name == "events_backward":  # a plan does not show what is read for a set
        found = found[found.index("SELECT pipeline, doc_id, timestamp, event_id") : found.rindex(")\n  --")]
    plan = "\n".join(line for (line,) in clickhouse.query(f"EXPLAIN {found}", parameters))
    assert "ReadFromMergeTree (p_by_time)" in plan, plan
