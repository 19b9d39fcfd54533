"""The dashboard of steptrail itself: how fresh the tables are, what was lost, what is no event."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from grafana.panels import board, lines, number, rows

AGE = """
SELECT if(count() = 0, NULL, dateDiff('millisecond', max(at), now64(3)) / 1000.) AS seconds
FROM projection_ledger WHERE projection_name = 'steps'
"""
BLIND = """
SELECT if(count() = 0, NULL, dateDiff('millisecond', argMax(watermark, at), now64(3)) / 1000.) AS behind
FROM health_sight
"""
OPEN_LETTERS = "SELECT countIf(state = 'OPEN') AS letters FROM dead_letter_state"
LOST = """
SELECT sum(greatest(missing, 0) + dropped + failed - maybe_delivered) AS events FROM emitters
WHERE greatest(ifNull(last_event_at, toDateTime64(0, 3)), ifNull(last_report_at, toDateTime64(0, 3))) >= $__fromTime
"""
GAPS = "SELECT sum(last_offset - first_offset + 1) AS offsets FROM topic_gaps FINAL WHERE $__timeFilter(noticed_at)"
WRITTEN = """
SELECT $__timeInterval(at) AS time, toString(projection_name) AS projection, sum(rows) / $__interval_s AS per_second
FROM projection_ledger WHERE $__timeFilter(at) GROUP BY time, projection ORDER BY time
"""
LOSSES = """
SELECT $__timeInterval(toDateTime(slot * 5)) AS time,
    sum(dropped) AS dropped, sum(gaps) AS missing, sum(dead_letters) AS dead_letters
FROM health_losses FINAL WHERE counted AND $__timeFilter(toDateTime(slot * 5)) GROUP BY time ORDER BY time
"""
WATERMARK = """
SELECT $__timeInterval(at) AS time, max(dateDiff('millisecond', watermark, at)) / 1000. AS behind,
    countIf(state = 'BLIND') AS blind
FROM health_sight WHERE $__timeFilter(at) GROUP BY time ORDER BY time
"""
PARTITION_ROWS = """
SELECT toString(projection_name) AS projection, partition, max(last_offset) AS last_offset, max(at) AS written,
    dateDiff('second', max(at), now()) AS age, sum(rows) AS `rows`
FROM projection_ledger GROUP BY projection, partition ORDER BY projection, partition LIMIT 500
"""
LETTER_ROWS = """
SELECT broker_time, state, toString(reason) AS reason, explanation, toString(pipeline) AS pipeline,
    doc_id AS document, step_name AS step, source_partition, source_offset
FROM dead_letter_state WHERE $__timeFilter(broker_time) ORDER BY broker_time DESC LIMIT 200
"""
EMITTER_ROWS = """
SELECT toString(worker) AS worker, toString(pipeline) AS pipeline, state, accepted, arrived,
    greatest(missing, 0) AS missing, dropped, failed, reasons, clock_offset_ms,
    CAST(last_event_at AS Nullable(DateTime64(3, 'UTC'))) AS last_event, last_report_at AS last_report
FROM emitters
WHERE greatest(ifNull(last_event_at, toDateTime64(0, 3)), ifNull(last_report_at, toDateTime64(0, 3))) >= $__fromTime
ORDER BY missing + dropped + failed DESC, last_report DESC LIMIT 200
"""


def operations() -> dashboard.Dashboard:
    """`steptrail-operations`."""
    panels = [
        number("Last batch", AGE, about="Since the projector wrote events; long where nothing is emitted", unit="s", span=5),
        number("Health is behind", BLIND, about="By its watermark; beyond a minute verdicts are UNKNOWN", unit="s",
               bad_from=60, span=5),
        number("Dead letters", OPEN_LETTERS, about="Messages that are no events, and not decided about", bad_from=1, span=5),
        number("Lost events", LOST, about="That emitters heard of since say or show to be lost", bad_from=1, span=5),
        number("Lost offsets", GAPS, about="Expired on the topic before they were projected", bad_from=1),
        lines("Rows written", WRITTEN, about="A second, by projection", unit="wps"),
        lines("Losses", LOSSES, about="As the health consumer counted them"),
        lines("Health's watermark", WATERMARK, about="How far it is behind; how often it was blind", unit="s", span=24),
        rows("Partitions", PARTITION_ROWS, about="What the ledger holds; `steptrail lag` compares it with Kafka",
             units={"age": "s"}, span=12),
        rows("Dead letters", LETTER_ROWS, about="`steptrail dlq` shows and resends them", span=12),
        rows("Emitters", EMITTER_ROWS, about="Those that lost most first", units={"clock_offset_ms": "ms"}),
    ]  # fmt: skip
    return board(
        "steptrail-operations",
        "steptrail: operations",
        "Whether what the other dashboards show can be believed.",
        panels,
        [],
    )
