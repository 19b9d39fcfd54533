"""Recent errors, grouped on the spot: straight from `steps`, for any span of time, with no health consumer needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from steptrail.projections.aggregates.error_group_counts import GROUP_ID
from steptrail.projections.aggregates.templates import LONGEST_INPUT, template_sql
from steptrail.projections.clickhouse.queries import Store, ask_sql, micros, positive, scope
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus


@dataclass(frozen=True, slots=True)
class RecentErrorGroup:
    """Errors of one step that are the same but for numbers, names and places in their message.

    `group_id` is that of the error group, unless there are warnings among them. `count` and `documents` are exact;
    `doc_id` and `message` (cut to 2 KiB) are of the latest. Times are aware, UTC, and the workers'.
    """

    group_id: str
    pipeline: str
    step_name: str
    error_type: str
    template: str
    count: int
    documents: int
    first_seen: datetime
    last_seen: datetime
    doc_id: str
    message: str


@dataclass(frozen=True, slots=True)
class RecentErrorGroups:
    """The groups with most errors, and how many `other_groups` there are, with how many `other_errors`."""

    items: Sequence[RecentErrorGroup]
    other_groups: int
    other_errors: int

    def __iter__(self) -> Iterator[RecentErrorGroup]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def recent_error_groups(
    store: Store, pipeline: str | None, since: datetime, statuses: Collection[ProcessingStatus], limit: int
) -> RecentErrorGroups:
    """Events with one of `statuses` since then, by group, those with most first, `limit` of them."""
    rows = ask_sql(
        store,
        _statement(),
        {
            **scope(pipeline),
            "statuses": sorted({ProcessingStatus(status).value for status in statuses}),
            "since_us": micros("since", since, 0),
            "fetch": positive("limit", limit),
        },
    )
    groups = [
        RecentErrorGroup(
            **{name: row[name] for name in RecentErrorGroup.__slots__ if not name.endswith("_seen")},
            first_seen=datetime_from_us(row["first_us"]),
            last_seen=datetime_from_us(row["last_us"]),
        )
        for row in rows
    ]
    matched, events = (int(rows[0]["matched"]), int(rows[0]["matched_events"])) if rows else (0, 0)
    return RecentErrorGroups(
        tuple(groups), matched - len(groups), events - sum(group.count for group in groups)
    )


@cache
def _statement() -> str:
    # An event that stands there twice until a merge has the same message both times: it is counted by its id.
    return f"""
SELECT {GROUP_ID.format("template")} AS group_id, pipeline, step_name, error_type, template,
    sum(n) AS count, uniqExactMerge(docs) AS documents,
    toUnixTimestamp64Micro(min(first_time)) AS first_us, toUnixTimestamp64Micro(max(last_time)) AS last_us,
    argMax(newest.3, newest) AS doc_id, argMax(message, newest) AS message,
    count() OVER () AS matched, sum(count) OVER () AS matched_events
FROM
(
    SELECT pipeline, step_name, error_type, {template_sql("message")} AS template, message, n, docs, first_time,
        last_time, newest
    FROM
    (
        SELECT toString(pipeline) AS pipeline, toString(step_name) AS step_name,
            toString(ifNull(steps.error_type, '')) AS error_type,
            substring(ifNull(error_message, ''), 1, {LONGEST_INPUT + 1}) AS message,
            uniqExact(event_id) AS n, min(timestamp) AS first_time, max(timestamp) AS last_time,
            uniqExactState(doc_id) AS docs, max((timestamp, toUInt128(event_id), doc_id)) AS newest
        FROM steps
        WHERE ({{any_pipeline:Bool}} OR steps.pipeline = {{pipeline:String}})
          AND status IN {{statuses:Array(String)}}
          AND timestamp >= fromUnixTimestamp64Micro({{since_us:Int64}}, 'UTC')
        GROUP BY pipeline, step_name, error_type, message
    )
)
GROUP BY pipeline, step_name, error_type, template
ORDER BY count DESC, group_id
LIMIT {{fetch:UInt64}}
SETTINGS max_bytes_before_external_group_by = 150000000
"""
