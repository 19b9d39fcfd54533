"""Counting error groups: from `health_events` by minute, and from the minutes by hour.

Distinct messages come first, then the template of each: a template costs some 7 µs, and most errors say what
another one has said. The rows depend on the events of the minute alone, as in `steptrail.projections.step_minutes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from steptrail.projections.step_minutes import SPILL
from steptrail.projections.templates import LONGEST_INPUT, template_sql

if TYPE_CHECKING:
    from steptrail.projections.clickhouse import ClickHouse

TEMPLATES_OF_A_MINUTE: Final = 1000
"""Templates of one step and error type that are groups of their own in a minute, the most frequent ones; the rest of
that minute counts as one group, `OTHER`."""

OTHER: Final = "(other messages)"
"""What stands in place of a template for all that were too many; no message has it for a template of its own, but
one that says just this."""

EXAMPLES: Final = 3
_LONGEST_EXAMPLE: Final = 1024

# Lengths keep apart what a separator in a name would mix up.
GROUP_ID: Final = (
    "lower(hex(halfMD5(arrayStringConcat(arrayMap(part -> concat(toString(length(part)), ':', part), "
    "[toString(pipeline), toString(step_name), error_type, {0}])))))"
)
"""SQL: the id of a group, 16 hex digits from its pipeline, step and error type (columns) and {0}, its template."""

_COUNT_MINUTES: Final = f"""
INSERT INTO error_group_minutes
    (minute, group_id, pipeline, step_name, error_type, template, first_seen, last_seen, count, documents, templates,
     examples, version)
SELECT minute_of,
    {GROUP_ID.format("named").replace("error_type", "kind")},
    pipeline, step_name, kind, if(place <= {{most:UInt32}}, template_of, {{other:String}}) AS named,
    min(first_at), max(last_at), sum(times), uniqMergeState(docs), uniqState(template_of),
    arraySlice(arrayReverseSort(one -> (one.1, toUInt128(one.2)), groupArrayArray(latest)), 1, {EXAMPLES}),
    {{version:UInt64}}
FROM
(
    SELECT minute_of, pipeline, step_name, kind, template_of, sum(n) AS times, min(first_t) AS first_at,
        max(last_t) AS last_at, uniqMergeState(docs_of) AS docs,
        arrayMap(
            one -> (fromUnixTimestamp64Milli(-one.1, 'UTC'), one.3, one.4, one.5),
            groupArraySorted({EXAMPLES})(
                (-toUnixTimestamp64Milli(newest.1), -toInt256(newest.2), newest.3, newest.4, said)
            )
        ) AS latest,
        row_number() OVER (
            PARTITION BY minute_of, pipeline, step_name, kind ORDER BY times DESC, template_of
        ) AS place
    FROM
    (
        SELECT minute_of, pipeline, step_name, kind, n, first_t, last_t, docs_of, newest,
            if(length(message) > {_LONGEST_EXAMPLE},
               concat(toValidUTF8(substring(message, 1, {_LONGEST_EXAMPLE})), '…'), message) AS said,
            {template_sql("message")} AS template_of
        FROM
        (
            SELECT toStartOfMinute(broker_time) AS minute_of, pipeline, step_name,
                toString(ifNull(error_type, '')) AS kind,
                substring(ifNull(error_message, ''), 1, {LONGEST_INPUT + 1}) AS message,
                count() AS n, min(broker_time) AS first_t, max(broker_time) AS last_t, uniqState(doc_id) AS docs_of,
                max((broker_time, toUInt128(event_id), event_id, doc_id)) AS newest
            FROM health_events
            WHERE status IN ('ERROR', 'FAILED') AND ({{times}})
            GROUP BY minute_of, pipeline, step_name, kind, message
        )
    )
    GROUP BY minute_of, pipeline, step_name, kind, template_of
)
GROUP BY minute_of, pipeline, step_name, kind, named
"""

_COUNT_HOURS: Final = f"""
INSERT INTO error_group_hours
    (hour, group_id, pipeline, step_name, error_type, template, first_seen, last_seen, count, documents, templates,
     examples, version)
SELECT toStartOfHour(minute) AS hour_of, group_id, pipeline, step_name, error_type, template,
    min(first_seen), max(last_seen), sum(counted.count), uniqMergeState(counted.documents),
    uniqMergeState(counted.templates),
    arraySlice(arrayReverseSort(one -> (one.1, toUInt128(one.2)), groupArrayArray(counted.examples)), 1, {EXAMPLES}),
    {{version:UInt64}}
FROM error_group_minutes AS counted FINAL
WHERE {{times}}
GROUP BY hour_of, group_id, pipeline, step_name, error_type, template
"""


def count_error_minutes(
    clickhouse: ClickHouse, times: str, version: int, *, most: int = TEMPLATES_OF_A_MINUTE
) -> None:
    """Count the errors of the minutes in `times`, SQL over broker_time that is made of whole minutes."""
    clickhouse.command(
        _COUNT_MINUTES.replace("{times}", times),
        {"version": version, "most": most, "other": OTHER},
        settings=SPILL,
    )


def count_error_hours(clickhouse: ClickHouse, times: str, version: int) -> None:
    """Put the hours in `times`, SQL over `minute` that is made of whole hours, together from their minutes."""
    clickhouse.command(_COUNT_HOURS.replace("{times}", times), {"version": version}, settings=SPILL)
