"""Records of some documents, one of them to be erased, and what names it."""

from __future__ import annotations

from typing import Any

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES
from steptrail.schemas.status import ProcessingStatus as S
from support.erasing import Records, another, everywhere, letter_about, stall_of
from support.projected import T0, event

MINUTE = 60_000_000


DOC = "patient-Zweigelt-1977"


TEXT = "cannot read the letter of Frau Blaufraenkisch"


NEEDLES = (DOC.encode(), b"Blaufraenkisch")


def records_of_documents(clickhouse: ClickHouse) -> Records:
    """Records of 20 documents, one of them to be erased, over some hours; nothing is projected yet."""
    records = Records(clickhouse)
    for table in EVENT_TABLES:
        clickhouse.command(f"TRUNCATE TABLE {table.name}")
    for name in ("erased_documents", "erasures", "emitter_sequences"):
        clickhouse.command(f"TRUNCATE TABLE {name}")
    records.forget_ledger()
    for number in range(240):
        mine = number % 20 == 7
        time = number * MINUTE
        running = event(
            S.RUNNING,
            time,
            doc_id=DOC if mine else f"doc-{number % 20}",
            execution=number + 1,
            step_name="ocr",
        )
        failed = number % 3 == 1
        ended = another(
            running,
            status=S.ERROR if failed else S.SUCCESS,
            timestamp=running.timestamp + 2_000_000,
            sequence=10_000 + number,
            duration_ms=2000.0,
            error_type="ValueError" if failed else None,
            error_message=(TEXT if mine else f"no page {number}") if failed else None,
            metrics='{"pages of Frau Blaufraenkisch":3}' if mine else '{"pages":2}',
            details='{"of":"Frau Blaufraenkisch"}' if mine else "{}",
        )
        records.events += [(running, running.timestamp), (ended, ended.timestamp)]
    records.letters = [
        (letter_about(DOC, f"{TEXT}: not JSON", 1, T0 // 1000), T0),
        (letter_about("doc-1", "not JSON", 2, T0 // 1000), T0),
    ]
    first = next(one for one, _ in records.events if one.doc_id == DOC)
    other = next(one for one, _ in records.events if one.doc_id == "doc-1")
    records.observations = [
        (stall_of(first, TEXT), T0 + MINUTE),
        (stall_of(other, "has not ended"), T0 + MINUTE),
    ]
    return records


def without(records: Records, doc_id: str = DOC) -> Records:
    """The same topics, if the document had never been."""
    left = Records(records.clickhouse)
    left.events = [(one, us) for one, us in records.events if one.doc_id != doc_id]
    left.letters = [(one, us) for one, us in records.letters if one.doc_id != doc_id]
    left.observations = [(one, us) for one, us in records.observations if one.doc_id != doc_id]
    return left


def content(clickhouse: ClickHouse) -> dict[str, Any]:
    """What the tables say, but for offsets and versions, which tell where a row came from."""
    columns = {
        "steps": "* EXCEPT (kafka_offset)",
        "health_events": "* EXCEPT (kafka_offset)",
        "observations": "* EXCEPT (kafka_offset)",
        "dead_letters": "* EXCEPT (kafka_offset)",
        "step_executions": "*",
        "step_minutes": "* EXCEPT (durations)",
        "step_metrics": "*",
        "error_group_minutes": "* EXCEPT (version, documents, templates), "
        "finalizeAggregation(documents), finalizeAggregation(templates)",
        "error_group_hours": "* EXCEPT (version, documents, templates), "
        "finalizeAggregation(documents), finalizeAggregation(templates)",
    }
    final = {"step_executions", "error_group_minutes", "error_group_hours"}
    return {
        table: clickhouse.query(
            f"SELECT {what} FROM {table} {'FINAL' if table in final else ''} ORDER BY ALL"
        )
        for table, what in columns.items()
    }


def naming(clickhouse: ClickHouse) -> list[str]:
    """The tables and views that name the document or have its text."""
    return sorted(
        name for name, rows in everywhere(clickhouse).items() if any(needle in rows for needle in NEEDLES)
    )
