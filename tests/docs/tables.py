"""The tables of docs/sql.md, from the comments in the migrations: `.venv/bin/python tests/docs/tables.py`.

It asks the ClickHouse that the environment names, whose tables must be up to date. Views have few comments of their
own: their columns mean what those of the same name mean in the tables they read, or what stands here.
"""

# ruff: noqa: E501 - a query stands on one line

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.schemas import Settings

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.marked_block import filled

PAGE = Path(__file__).parents[2] / "docs" / "sql.md"
BEGUN = "When it was begun, by the worker's clock"


@dataclass(frozen=True)
class Shown:
    """A table or view on the page: a query to start from; for a view what a row is, whose comments hold, and others."""

    example: str
    row: str = ""
    reads: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)


_STALL = {
    "stalled_since": "The time for which the stall was found, by the broker's clock",
    "queued": "Whether it was PENDING then: nobody had begun it",
}
_EVERY = "SELECT * FROM {name} LIMIT 3"

SECTIONS: dict[str, dict[str, Shown]] = {
    "Documents and their steps": {
        "steps": Shown(
            "SELECT timestamp, step_name, status, error_message FROM steps "
            "WHERE pipeline = 'invoices' AND doc_id = 'invoice-17' ORDER BY timestamp"
        ),
        "step_state": Shown(
            "SELECT doc_id, step_name, status, error_message FROM step_state WHERE status IN ('ERROR', 'FAILED')",
            "The current state of one step of one document, folded from its events when it is asked.",
            ("steps",),
            {
                "status": "Status of the current execution",
                "attempt": "Number of the attempt, from 1",
                "queued_at": "When it was first PENDING; NULL where it never was",
                "started_at": "When it first was RUNNING; NULL where it never was",
                "updated_at": "Time of the event that gives the status",
                "depends_on": "JSON array of step names, as last told",
                "executions": "How often the step was begun, or waits to be",
                "events": "Events of the step, each once",
            },
        ),
        "step_executions": Shown(
            "SELECT doc_id, step_name, winner.4 AS status, first_run FROM step_executions FINAL "
            "WHERE pipeline = 'invoices' AND winner.1 = 1"
        ),
        "stuck_work": Shown(
            "SELECT state, pipeline, step_name, doc_id, since, says FROM stuck_work ORDER BY since",
            "One step of one document that may be stuck: stalled, or open for more than ten minutes.",
        ),
        "stalls": Shown(
            "SELECT pipeline, step_name, doc_id, stalled_since, sentence FROM stalls ORDER BY stalled_since",
            "One execution that is stalled now.",
            ("observations",),
            _STALL,
        ),
        "stall_state": Shown(
            "SELECT doc_id, stands, status, sentence FROM stall_state WHERE NOT stands",
            "One execution that was said to be stalled and not taken back, and what became of it since.",
            ("observations",),
            {**_STALL, "status": "Status of the execution now", "stands": "Whether it is still stalled"},
        ),
        "stalls_said": Shown(
            _EVERY,
            "One execution whose last observation is STALLED; what became of it since is not looked at.",
            ("observations",),
            _STALL,
        ),
        "observations": Shown(
            "SELECT broker_time, what, doc_id, sentence FROM observations ORDER BY broker_time DESC LIMIT 20"
        ),
        "document_completeness": Shown(
            "SELECT doc_id, failed, unfinished, missing FROM document_completeness WHERE state = 'incomplete'",
            "One document of a pipeline that declared its steps.",
            ("steps",),
            {
                "state": "[Completeness](completeness.md) says what each means",
                "expected": "The steps that it should have",
                "done": "Those that ended well",
                "failed": "Those that ended in ERROR or FAILED",
                "unfinished": "Those that are PENDING or RUNNING",
                "missing": "Those of which nothing was heard",
                "unexpected": "Steps that it has and nobody declared",
                "updated_at": "Time of its last event",
            },
        ),
        "expected_steps": Shown(
            "SELECT pipeline, steps FROM expected_steps",
            "The steps that one pipeline declares now.",
            ("expected_steps_declarations",),
        ),
        "expected_steps_declarations": Shown(_EVERY),
    },
    "Counts over time": {
        "step_minutes": Shown(
            "SELECT minute, events, error + failed AS errors, p50, p95, p99 FROM step_minutes "
            "WHERE minute >= now() - INTERVAL 1 HOUR ORDER BY minute",
            "One step in one minute of the broker's time. Durations are in milliseconds.",
            ("step_minute_rows",),
            {
                "quantiles": "Median, 95th and 99th percentile of the durations, in milliseconds",
                "p50": "Median of the durations, in milliseconds",
                "p95": "Their 95th percentile, in milliseconds",
                "p99": "Their 99th percentile, in milliseconds",
            },
        ),
        "step_metrics": Shown(
            "SELECT step_name, metric, sum(sum) / sum(values) AS mean FROM step_metrics GROUP BY ALL ORDER BY ALL",
            "One metric of one step in one minute, in the unit that the worker gave it.",
            ("step_metric_rows",),
        ),
        "step_minute_rows": Shown(_EVERY),
        "step_metric_rows": Shown(_EVERY),
    },
    "Errors": {
        "error_groups": Shown(
            "SELECT state, count, documents, step_name, template FROM error_groups "
            "WHERE state IN ('NEW', 'REGRESSED') ORDER BY count DESC LIMIT 20",
            "One group of errors that are the same but for numbers, names and places, as it is now.",
            ("error_group_hours", "error_group_actions"),
            {
                "state": "NEW, ONGOING, REGRESSED, RESOLVED or MUTED",
                "first_seen": "When the broker took its first error",
                "last_seen": "When the broker took its last error",
                "count": "Errors in all, each event once",
                "documents": "Documents that had one",
                "templates": "Templates that the group stands for; 1 but for `(other messages)`",
                "acted_by": "Who acted last",
                "acted_at": "When",
                "reason": "Why, in that person's words",
            },
        ),
        "error_group_hours": Shown(
            "SELECT hour, sum(count) AS errors FROM error_group_hours FINAL GROUP BY hour ORDER BY hour"
        ),
        "error_group_minutes": Shown(_EVERY),
        "error_group_actions": Shown(
            "SELECT acted_at, acted_by, action, reason FROM error_group_actions ORDER BY acted_at"
        ),
        "error_group_rules": Shown(_EVERY),
    },
    "Health": {
        "health_state": Shown(
            "SELECT pipeline, step_name, status, since, sentence FROM health_state WHERE status != 'HEALTHY'",
            "The verdict on one step, or on a whole pipeline, as it is now.",
            ("health_verdicts",),
        ),
        "health_verdicts": Shown(
            "SELECT slot, status, sentence FROM health_verdicts ORDER BY slot DESC LIMIT 20"
        ),
        "health_sight": Shown(
            "SELECT at, state, watermark, reason FROM health_sight ORDER BY at DESC LIMIT 1"
        ),
        "health_losses": Shown(
            "SELECT slot, pipeline, dropped, gaps, dead_letters FROM health_losses FINAL ORDER BY slot"
        ),
        "health_events": Shown(_EVERY),
        "health_snapshots": Shown(
            "SELECT at, watermark, member FROM health_snapshots FINAL ORDER BY at DESC"
        ),
    },
    "What was lost, and what is no event": {
        "emitters": Shown(
            "SELECT worker, missing, dropped, state FROM emitters WHERE missing > 0 OR dropped > 0",
            "One emitter: what arrived of it, what it said last, what is missing, and how its clock is.",
            ("emitter_reports", "emitter_sequences"),
            {
                "arrived": "Events that arrived",
                "last_sequence": "The greatest sequence number that arrived; -1 where none did",
                "missing": "Events that it numbered and that did not arrive",
                "closed": "Whether it said that it has ended",
                "state": "closed, or up to which number it was heard of",
                "last_event_at": "Time of its last event",
                "last_report_at": "When the broker took its last report",
            },
        ),
        "emitter_gaps": Shown(
            "SELECT worker, first_sequence, last_sequence, events FROM emitter_gaps ORDER BY events DESC",
            "One run of numbers that an emitter gave and that did not arrive.",
            ("emitter_reports", "emitter_sequences"),
            {
                "first_sequence": "The first number that is missing",
                "last_sequence": "The last one",
                "events": "How many",
                "after": "Time of the last event before them",
                "before": "Time of the first event behind them",
            },
        ),
        "emitter_reports": Shown(
            "SELECT worker, kind, accepted, delivered, dropped FROM emitter_reports ORDER BY broker_time DESC LIMIT 10"
        ),
        "emitter_sequences": Shown(_EVERY),
        "dead_letter_state": Shown(
            "SELECT reason, state, count() FROM dead_letter_state GROUP BY ALL ORDER BY ALL",
            "Every dead letter once, with its state.",
            ("dead_letters", "dead_letter_decisions"),
            {
                "state": "OPEN, REDRIVEN or DROPPED",
                "decided_at": "When that was decided",
                "decided_by": "Who decided",
            },
        ),
        "dead_letters": Shown(_EVERY),
        "dead_letter_decisions": Shown(
            "SELECT decided_at, decided_by, decision, note FROM dead_letter_decisions ORDER BY decided_at"
        ),
        "topic_gaps": Shown("SELECT * FROM topic_gaps FINAL"),
    },
    "Retention and erasure": {
        "retention_rules": Shown(
            "SELECT pipeline, days, held, reason FROM retention_rules ORDER BY pipeline",
            "What holds for one pipeline, or, with an empty name, by default.",
            ("retention_changes",),
            {"number": "How often it was changed"},
        ),
        "retention_changes": Shown(
            "SELECT changed_at, changed_by, pipeline, days, held, reason FROM retention_changes ORDER BY changed_at"
        ),
        "erasures": Shown(
            "SELECT request, state, at, documents, requested_by, reason FROM erasures ORDER BY at"
        ),
        "erased_documents": Shown("SELECT count(), max(erased_to) FROM erased_documents"),
        "erasure_key": Shown("SELECT made_at FROM erasure_key"),
    },
    "Rebuilds": {
        "rebuilds": Shown("SELECT rebuild, state, at, requested_by FROM rebuilds ORDER BY at, number"),
        "projection_holds": Shown(
            "SELECT projection_name, hold, any(reason) FROM projection_holds GROUP BY ALL HAVING max(released) = 0"
        ),
    },
    "Backups": {
        "backups": Shown("SELECT at, state, name, bytes, requested_by FROM backups ORDER BY at, state"),
    },
    "How far everything is": {
        "projection_ledger": Shown(
            "SELECT projection_name, partition, max(last_offset) FROM projection_ledger GROUP BY ALL ORDER BY ALL"
        ),
        "projection_claims": Shown(_EVERY),
        "aggregate_marks": Shown("SELECT * FROM aggregate_marks FINAL"),
        "schema_migrations": Shown(
            "SELECT version, name, applied_at FROM schema_migrations FINAL ORDER BY version"
        ),
    },
}


def block(clickhouse: ClickHouse) -> str:
    """The page's tables. Raises KeyError for a table or a column of which nothing is said."""
    comments = dict(
        clickhouse.query("SELECT name, comment FROM system.tables WHERE database = currentDatabase()")
    )
    asked = "SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase() ORDER BY table, position"
    columns: dict[str, list[tuple[str, str, str]]] = {}
    for table, name, kind, comment in clickhouse.query(asked):
        columns.setdefault(table, []).append((name, kind, comment))
    shown = {name for section in SECTIONS.values() for name in section}
    if unsaid := set(comments) - shown:
        raise KeyError(f"not in tests/docs/tables.py: {sorted(unsaid)}")
    lines: list[str] = []
    for title, section in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name, table in section.items():
            lines += [f"### `{name}`", "", table.row or comments[name], ""]
            lines += [
                "```sql",
                table.example.format(name=name),
                "```",
                "",
                "| column | type | |",
                "|---|---|---|",
            ]
            for column, kind, comment in columns[name]:
                meaning = table.columns.get(column) or comment or _borrowed(column, table.reads, columns)
                if not meaning:
                    raise KeyError(f"nothing is said of {name}.{column}")
                lines.append(f"| `{column}` | {_type(kind)} | {_cell(meaning)} |")
            lines.append("")
    return "\n".join(lines).rstrip()


def _borrowed(column: str, tables: tuple[str, ...], columns: dict[str, list[tuple[str, str, str]]]) -> str:
    return next((said for table in tables for name, _, said in columns[table] if name == column and said), "")


def _type(kind: str) -> str:
    if kind.startswith(("Enum", "Nullable(Enum")):
        return "one of " + ", ".join(re.findall(r"'([^']*)' = ", kind))
    return f"`{kind}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


if __name__ == "__main__":
    with connect(Settings()) as found:
        PAGE.write_text(filled(PAGE.read_text("utf-8"), "tables", block(found)), "utf-8")
