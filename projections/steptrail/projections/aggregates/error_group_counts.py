"""Counting error groups: from `health_events` by minute, and from the minutes by hour.

Distinct messages come first, then the template of each: a template costs some 7 µs, and most errors say what
another one has said. A minute in which they do not is counted in another way, in a memory that does not grow with the
messages. The rows depend on the events of the minute alone, as in `steptrail.projections.aggregates.step_minutes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

from steptrail.projections.aggregates.step_minutes import SPILL, count
from steptrail.projections.aggregates.templates import LONGEST_INPUT, template_sql

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse

TEMPLATES_OF_A_MINUTE: Final = 1000
"""Templates of one step and error type that are groups of their own in a minute, the most frequent ones; the rest of
that minute counts as one group, `OTHER`."""

OTHER: Final = "(other messages)"
"""What stands in place of a template for all that were too many; no message has it for a template of its own, but
one that says just this."""

EXAMPLES: Final = 3
_MANY: Final = 100_000


class Crowd(Enum):
    """How many different messages a minute has, hence how it is counted. It follows from the minute's events alone."""

    FEW = 1
    """No step has more than it may have groups: each message once, then its template, and that is all."""
    MANY = 2
    """Which templates are to be groups of their own has to be found first."""
    TOO_MANY = 3
    """That too, and distinct messages would take more memory than there is: a template for each event."""


_LONGEST_EXAMPLE: Final = 1024

# Lengths keep apart what a separator in a name would mix up.
GROUP_ID: Final = (
    "lower(hex(halfMD5(arrayStringConcat(arrayMap(part -> concat(toString(length(part)), ':', part), "
    "[toString(pipeline), toString(step_name), error_type, {0}])))))"
)
"""SQL: the id of a group, 16 hex digits from its pipeline, step and error type (columns) and {0}, its template."""

_KEY: Final = "minute_of, pipeline, step_name, kind"
_ERRORS: Final = f"""
            SELECT toStartOfMinute(broker_time) AS minute_of, pipeline, step_name,
                toString(ifNull(error_type, '')) AS kind,
                substring(ifNull(error_message, ''), 1, {LONGEST_INPUT + 1}) AS message,
                broker_time, event_id, doc_id
            FROM health_events
            WHERE status IN ('ERROR', 'FAILED') AND ({{times}})
"""
_SAID: Final = (
    f"if(length(message) > {_LONGEST_EXAMPLE}, "
    f"concat(toValidUTF8(substring(message, 1, {_LONGEST_EXAMPLE})), '…'), message)"
)
# The latest come first; of those with one message the first is kept.
_LATEST: Final = f"""
        groupArraySorted({8 * EXAMPLES})(
            (-toUnixTimestamp64Milli(newest.1), -toInt256(newest.2), newest.3, newest.4, {_SAID})
        )
"""
_EXAMPLES: Final = f"""
    arrayMap(
        one -> (fromUnixTimestamp64Milli(-one.1, 'UTC'), one.3, one.4, one.5),
        arraySlice(arrayFilter((one, nth) -> nth = 1, latest, arrayEnumerateUniq(latest.5)), 1, {EXAMPLES})
    )
"""

# How many messages each minute has: of the step and error type with most, and of all.
_MESSAGES: Final = f"""
SELECT toUnixTimestamp(minute_of), max(messages), sum(messages) FROM
(
    SELECT {_KEY}, uniq(message) AS messages FROM ({_ERRORS}) GROUP BY {_KEY}
)
GROUP BY minute_of
"""

_EACH_MESSAGE: Final = f"""
            SELECT {_KEY}, message, count() AS n, min(broker_time) AS first_t, max(broker_time) AS last_t,
                uniqState(doc_id) AS docs_of, max((broker_time, toUInt128(event_id), event_id, doc_id)) AS newest
            FROM ({_ERRORS})
            GROUP BY {_KEY}, message
"""
_EACH_EVENT: Final = f"""
            SELECT {_KEY}, message, 1 AS n, broker_time AS first_t, broker_time AS last_t,
                initializeAggregation('uniqState', doc_id) AS docs_of,
                (broker_time, toUInt128(event_id), event_id, doc_id) AS newest
            FROM ({_ERRORS})
"""


def _count(each: str, numbered: str, *, bounded: bool) -> str:
    """The statement that counts groups from `each` message or event; `numbered` are the same with their number alone.

    If `bounded`, the templates that are groups of their own are found first, and few groups are left to be counted.
    """
    named = "template_of"
    if bounded:
        named = f"""if(({_KEY}, template_of) IN
        (
            SELECT {_KEY}, template_of
            FROM (SELECT {_KEY}, n, {template_sql("message")} AS template_of FROM ({numbered}))
            GROUP BY {_KEY}, template_of
            ORDER BY {_KEY}, sum(n) DESC, template_of
            LIMIT {{most:UInt32}} BY {_KEY}
        ), template_of, {{other:String}})"""
    return f"""
INSERT INTO error_group_minutes
    (minute, group_id, pipeline, step_name, error_type, template, first_seen, last_seen, count, documents, templates,
     examples, version)
SELECT minute_of, {GROUP_ID.format("named").replace("error_type", "kind")}, pipeline, step_name, kind, named,
    first_at, last_at, times, docs, uniq_templates, {_EXAMPLES}, {{version:UInt64}}
FROM
(
    SELECT {_KEY}, {named} AS named, sum(n) AS times, min(first_t) AS first_at, max(last_t) AS last_at,
        uniqMergeState(docs_of) AS docs, uniqState(template_of) AS uniq_templates, {_LATEST} AS latest
    FROM
    (
        SELECT {_KEY}, message, n, first_t, last_t, docs_of, newest, {template_sql("message")} AS template_of
        FROM ({each})
    )
    GROUP BY {_KEY}, named
)
"""


_OF_MESSAGES: Final = f"SELECT {_KEY}, message, count() AS n FROM ({_ERRORS}) GROUP BY {_KEY}, message"
_OF_EVENTS: Final = f"SELECT {_KEY}, message, 1 AS n FROM ({_ERRORS})"
_STATEMENTS: Final[Mapping[Crowd, str]] = {
    Crowd.FEW: _count(_EACH_MESSAGE, _OF_MESSAGES, bounded=False),
    Crowd.MANY: _count(_EACH_MESSAGE, _OF_MESSAGES, bounded=True),
    Crowd.TOO_MANY: _count(_EACH_EVENT, _OF_EVENTS, bounded=True),
}

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


def crowds(clickhouse: ClickHouse, times: str, *, most: int = TEMPLATES_OF_A_MINUTE) -> dict[int, Crowd]:
    """Each minute in `times` that has errors, by its begin in seconds, in order: how it is to be counted."""
    found = clickhouse.query(_MESSAGES.replace("{times}", times), settings=SPILL)
    return {
        int(begin): Crowd.FEW if of_one <= most else Crowd.MANY if of_all <= _MANY else Crowd.TOO_MANY
        for begin, of_one, of_all in sorted(found)
    }


def count_error_minutes(
    clickhouse: ClickHouse, times: str, version: int, crowd: Crowd, *, most: int = TEMPLATES_OF_A_MINUTE
) -> None:
    """Count the errors of the minutes in `times`, SQL over broker_time that is made of whole minutes."""
    bound = {} if crowd is Crowd.FEW else {"most": most, "other": OTHER}
    count(clickhouse, _STATEMENTS[crowd].replace("{times}", times), {"version": version, **bound})


def count_error_hours(clickhouse: ClickHouse, times: str, version: int) -> None:
    """Put the hours in `times`, SQL over `minute` that is made of whole hours, together from their minutes."""
    count(clickhouse, _COUNT_HOURS.replace("{times}", times), {"version": version})
