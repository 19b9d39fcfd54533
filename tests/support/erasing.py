"""An engine on a folder that a test may look into, and topics whose records are projected into every table of it."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from steptrail.projections.aggregates.aggregates import Aggregates
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.delivery.batch import Batch, BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.projections.lifecycle.erasure import begin, finish, remove, rows_of, selected
from steptrail.projections.lifecycle.erasures import Erasure
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES
from steptrail.projections.tables.dead_letters import DEAD_LETTERS, DeadLetterRow, dead_letter_schemas
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.projections.tables.observations import OBSERVATIONS
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.event import StepEvent
from steptrail.schemas.observation import Observed, StepObservation, encode_observation, observation_id
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object
from support.engine import running_engine
from support.kept_line import SCHEMAS as OBSERVATION_SCHEMAS
from support.projected import Arrival

LEDGER = ("projection_ledger", "projection_claims", "aggregate_marks")

_SOON_REMOVED = "old_parts_lifetime = 1, cleanup_delay_period = 1, max_cleanup_delay_period = 1"


@contextmanager
def engine_on_a_folder() -> Iterator[tuple[ClickHouse, Path]]:
    """A store with its tables, whose engine removes replaced parts at once, and the engine's folder."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-engine-"))
    try:
        with running_engine(folder) as server:
            url = f"http://default:{server.password}@127.0.0.1:{server.port}/steptrail"
            with connect(Settings(kafka="127.0.0.1:1", clickhouse=url)) as clickhouse:
                migrate(clickhouse)
                for table in EVENT_TABLES:
                    clickhouse.command(f"ALTER TABLE {table.name} MODIFY SETTING {_SOON_REMOVED}")
                yield clickhouse, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Records:
    """Records of the topics, each at its offset of partition 0, and the store that they are projected into."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse
        self.events: list[Arrival] = []
        self.letters: list[tuple[DeadLetterRow, int]] = []
        self.observations: list[tuple[StepObservation, int]] = []

    def project(self, *, at_once: int = 1000) -> None:
        """Project what is not in the ledger yet, with all that is counted from it."""
        events = [(_event(one), us) for one, us in self.events]
        self._write(STEP_EVENTS, events, at_once)
        self._write(HEALTH_EVENTS, events, at_once)
        self._write(DEAD_LETTERS, [(one.encode(), us) for one, us in self.letters], at_once)
        self._write(OBSERVATIONS, [(encode_observation(one), us) for one, us in self.observations], at_once)
        Aggregates(self.clickhouse, topic_id="made-up").count_now()

    def projection(self, spec: ProjectionSpec, clickhouse: ClickHouse | None = None) -> Projection:
        """A projector of one of the topics."""
        return Projection(clickhouse or self.clickhouse, spec, topic="made-up", topic_id="made-up")

    def batch(self, events: Sequence[Arrival], first: int = 0) -> Batch:
        """A batch of step events from offset `first` on."""
        return _batch([(_event(one), us) for one, us in events], first, STEP_EVENTS)

    def replay(self) -> None:
        """Forget all that was projected, as somebody who builds the tables anew, and project everything again."""
        for table in EVENT_TABLES:
            self.clickhouse.command(f"TRUNCATE TABLE {table.name}")
        self.forget_ledger()
        self.project()

    def forget_ledger(self) -> None:
        """Forget how far every projection was."""
        for name in LEDGER:
            self.clickhouse.command(f"TRUNCATE TABLE {name}")

    def forget_marks(self) -> None:
        """Have everything that was counted counted once more."""
        self.clickhouse.command("TRUNCATE TABLE aggregate_marks")

    def _write(self, spec: ProjectionSpec, values: Sequence[tuple[bytes, int]], at_once: int) -> None:
        projection = self.projection(spec)
        first = projection.open([0])[0]
        for begin_at in range(first, len(values), at_once):
            chunk = values[begin_at : begin_at + at_once]
            projection.write(_batch(chunk, begin_at, spec))


def erase(clickhouse: ClickHouse, *documents: tuple[str, str]) -> Erasure:
    """Erase these documents, to the end."""
    with selected(clickhouse, documents) as selection:
        counted: dict[str, int] = {}
        for rows in rows_of(clickhouse, selection).values():
            for table, count in rows.items():
                counted[table] = counted.get(table, 0) + count
        erasure = begin(clickhouse, selection, counted, requested_by="somebody@somewhere", reason="asked to")
        return remove(clickhouse, finish(clickhouse, erasure, selection))


def letter_about(doc_id: str, explanation: str, number: int, source_ms: int) -> DeadLetterRow:
    """A dead letter that names a document."""
    return DeadLetterRow(
        "steps", "id", 0, number, source_ms, "BAD_JSON", explanation, pipeline="p", doc_id=doc_id
    )


def stall_of(event: StepEvent, sentence: str) -> StepObservation:
    """An observation that the event's execution is stalled."""
    return StepObservation(
        observation_id(event.execution_id, 1),
        Observed.STALLED,
        event.pipeline,
        event.doc_id,
        event.step_name,
        event.execution_id,
        1,
        None,
        ProcessingStatus.RUNNING,
        event.timestamp,
        600.0,
        event.timestamp + 700_000_000,
        "group/member",
        sentence,
        "{}",
    )


def everywhere(clickhouse: ClickHouse) -> dict[str, bytes]:
    """Every row of every table and view, as text, by name; not of stages, which go with their batch."""
    names = [
        str(name)
        for (name,) in clickhouse.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND NOT startsWith(name, 'stage_')"
        )
    ]
    rows = {name: b"".join(clickhouse.stream(f"SELECT * FROM `{name}` FORMAT JSONEachRow")) for name in names}
    return {name: b"\n".join(sorted(text.splitlines())) for name, text in rows.items()}


def another(one: StepEvent, **more: object) -> StepEvent:
    """The same event with another id and other fields."""
    return replace(one, event_id=uuid.uuid4().bytes, **more)  # type: ignore[arg-type]


def _event(one: StepEvent) -> bytes:
    return frame_single_object(encode_event(one))


def _batch(values: Sequence[tuple[bytes, int]], first: int, spec: ProjectionSpec) -> Batch:
    schemas = {DEAD_LETTERS.name: dead_letter_schemas(), OBSERVATIONS.name: OBSERVATION_SCHEMAS}
    builder = BatchBuilder(schemas.get(spec.name))
    for offset, (value, broker_us) in enumerate(values, first):
        builder.add(0, offset, broker_us // 1000, value)
    return builder.build()
