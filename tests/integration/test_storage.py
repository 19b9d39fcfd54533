"""The real storage: what is emitted to Kafka is read back from ClickHouse."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from steptrail.projections.clickhouse.errors import StoreUnavailable
from steptrail.projections.storage import ProjectedStorage, open_storage
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.status import ProcessingStatus as S
from steptrail.schemas.topics import Topics
from support.projecting import projected, projecting, read_all
from support.strange_values import WORST

LONG = 60.0


@pytest.fixture
def storage(workspace: Settings) -> Iterator[ProjectedStorage]:
    with open_storage(workspace) as opened:
        yield opened


def test_writes_are_read(workspace: Settings, storage: ProjectedStorage) -> None:
    """After wait_projected all of one's events are readable, with what was given and what was added."""
    with projecting(workspace):
        started = datetime.now(timezone.utc)
        first = storage.emit(doc_id="d", step_name="parse", status=S.RUNNING)
        for n in range(200):
            storage.emit(doc_id=f"other-{n}", step_name="parse", status=S.SUCCESS)
        last = storage.emit(
            doc_id="d", step_name="parse", status=S.FAILED, error_message="boom", metrics={"pages": 3}
        )
        assert storage.wait_projected(LONG)
        running, failed = storage.get_steps("d")
        assert (running.status, failed.status) == (S.RUNNING, S.FAILED)
        assert failed.metadata["execution_id"] == str(UUID(bytes=first.execution_id))
        assert failed.metadata["event_id"] == str(UUID(bytes=last.event_id))
        assert failed.error_message == "boom"
        assert failed.duration_ms is not None
        (error,) = storage.get_recent_errors(started - timedelta(seconds=1))
        assert (error.doc_id, error.timestamp) == ("d", failed.timestamp)
        (state,) = storage.reader.document_state(storage.pipeline, "d")
        assert (state.status, state.executions, state.events) == (S.FAILED, 1, 2)
    accounting = storage.emitter.accounting()
    assert (accounting.accepted, accounting.delivered) == (202, 202)


def test_pipelines_are_apart(workspace: Settings, storage: ProjectedStorage) -> None:
    """A storage reads its own pipeline, though another has the same document."""
    with projecting(workspace), open_storage(workspace, pipeline="other") as other:
        storage.emit(doc_id="d", step_name="ours", status=S.ERROR)
        other.emit(doc_id="d", step_name="theirs", status=S.ERROR)
        assert storage.wait_projected(LONG)
        assert other.wait_projected(LONG)
        assert [step.step_name for step in storage.get_steps("d")] == ["ours"]
        assert [step.step_name for step in other.get_steps("d")] == ["theirs"]
        hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
        assert [step.step_name for step in other.get_recent_errors(hour_ago)] == ["theirs"]


def test_no_value_is_a_dead_letter(workspace: Settings, storage: ProjectedStorage) -> None:
    """The worst values among ordinary ones: all are projected, SQL reads their parts, and no letter is written."""
    with projecting(workspace):
        for name, arguments in WORST.items():
            storage.emit(doc_id=name, step_name="s", status=S.ERROR, **arguments)
            storage.emit(doc_id="other", step_name="s", status=S.SUCCESS)
        assert storage.wait_projected(LONG)
        for name in WORST:
            assert len(storage.get_steps(name)) == 1
        assert len(storage.get_recent_errors(datetime(1900, 1, 1, tzinfo=timezone.utc))) == len(WORST)
    with projected(workspace) as store:
        assert store.count() == 2 * len(WORST)
        assert store.clickhouse.query(
            "SELECT countIf(isValidJSON(details)), countIf(isValidJSON(metrics)) FROM steps"
        ) == [(2 * len(WORST), 2 * len(WORST))]
        assert store.clickhouse.query(
            "SELECT JSONExtractArrayRaw(metrics, 'a')[1], duration_ms FROM steps WHERE doc_id = 'numpy'"
        ) == [("[0,0,0]", 1.5)]
    assert read_all(workspace, Topics(workspace.topic_prefix).dlq.name) == []


def test_long_and_strange_document_ids_are_found(workspace: Settings, storage: ProjectedStorage) -> None:
    """An id that had to be cut or cleaned for the event is found by the id that was given."""
    names = ["x" * 5000, "x" * 5001, "lone \ud800 surrogate", "nul \x00 in it"]
    with projecting(workspace):
        for n, name in enumerate(names):
            storage.emit(doc_id=name, step_name=f"s{n}", status=S.SUCCESS)
        assert storage.wait_projected(LONG)
        assert [[step.step_name for step in storage.get_steps(name)] for name in names] == [
            ["s0"],
            ["s1"],
            ["s2"],
            ["s3"],
        ]


def test_without_a_projector_waiting_ends(storage: ProjectedStorage) -> None:
    """Nothing to wait for is True at once; with events that nobody projects, False when the time has passed."""
    assert storage.wait_projected(0)
    storage.emit(doc_id="d", step_name="s", status=S.SUCCESS)
    assert storage.flush(LONG) == 0
    assert storage.wait_projected(0.5) is False
    assert storage.get_steps("d") == []


def test_emitting_does_not_need_clickhouse(workspace: Settings) -> None:
    """With ClickHouse away events are delivered; reads and waiting say where it was looked for."""
    away = workspace.with_values(clickhouse="http://u:hidden@127.0.0.1:9/steptrail")
    with open_storage(away) as storage:
        storage.emit(doc_id="d", step_name="s", status=S.SUCCESS)
        assert storage.flush(LONG) == 0
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9") as reading:
            storage.get_steps("d")
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9") as waiting:
            storage.wait_projected(0.3)
        assert "hidden" not in f"{reading.value}{waiting.value}"


def _child(storage: ProjectedStorage, answers: multiprocessing.SimpleQueue[object]) -> None:
    storage.emit(doc_id="d", step_name="child", status=S.SUCCESS)
    answers.put((storage.wait_projected(LONG), [step.step_name for step in storage.get_steps("d")]))
    storage.close()


def test_a_forked_child_reads_and_writes(workspace: Settings, storage: ProjectedStorage) -> None:
    """A child of fork uses connections of its own, and the parent goes on with its."""
    context = multiprocessing.get_context("fork")
    with projecting(workspace):
        storage.emit(doc_id="d", step_name="parent", status=S.SUCCESS)
        assert storage.wait_projected(LONG)
        assert len(storage.get_steps("d")) == 1
        answers = context.SimpleQueue()
        child = context.Process(target=_child, args=(storage, answers))
        child.start()
        assert answers.get() == (True, ["parent", "child"])
        child.join(LONG)
        assert child.exitcode == 0
        assert len(storage.get_steps("d")) == 2
