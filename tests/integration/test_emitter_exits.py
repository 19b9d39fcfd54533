"""Processes that emit to a real Kafka and end: what each kind of end promises, and forks of every kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from steptrail.schemas import Settings
from support.effort import ONLY_IN_TEST_ALL
from support.processes import run_script
from support.stack import environ_of
from support.topic_events import sequences, stored_events
from support.waiting import until

PREAMBLE = """
import os, sys
from steptrail.producers import StepEmitter
from steptrail.schemas import ProcessingStatus

def emit(emitter, count):
    for number in range(count):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=ProcessingStatus.RUNNING)
"""

ENDS = {
    "return": "",
    "exit code": "sys.exit(3)",
    "exception": "raise RuntimeError('the end')",
    "forgotten emitter": "del emitter",
    "thread": "import threading; t = threading.Thread(target=emit, args=(emitter, 5)); t.start()",
}


@pytest.mark.parametrize("end", ENDS)
def test_exits_of_its_own_deliver_what_is_pending(topics_only: Settings, end: str) -> None:
    """A process that ends by its own means has delivered everything, without a flush in the program."""
    ended = run_script(PREAMBLE + f"emitter = StepEmitter()\nemit(emitter, 400)\n{ENDS[end]}\n", topics_only)
    assert ended.code == {"exit code": 3, "exception": 1}.get(end, 0), ended.log
    (numbers,) = sequences(stored_events(topics_only)).values()
    assert numbers == list(range(405 if end == "thread" else 400))


def test_forked_children_deliver(topics_only: Settings) -> None:
    """Twenty forks of a process that emits: each child exits clean, and what it emitted is there, as its own."""
    ended = run_script(
        PREAMBLE
        + """
emitter = StepEmitter()
emit(emitter, 10)
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        emit(emitter, 7)
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
emit(emitter, 10)
""",
        topics_only,
    )
    assert ended.code == 0, ended.log
    found = sorted(sequences(stored_events(topics_only)).values(), key=len)
    assert found == [list(range(7))] * 20 + [list(range(20))]


def test_an_execution_crosses_a_fork(topics_only: Settings) -> None:
    """A step that began in the parent is ended by the child as the same execution."""
    ended = run_script(
        PREAMBLE
        + """
emitter = StepEmitter()
emit(emitter, 1)
if os.fork() == 0:
    emitter.emit(doc_id="doc 0", step_name="ocr", status=ProcessingStatus.SUCCESS)
    sys.exit(0)
os.wait()
""",
        topics_only,
    )
    assert ended.code == 0, ended.log
    stored = stored_events(topics_only)
    assert len(stored) == 2
    assert len({record.event.execution_id for record in stored}) == 1
    assert len({record.event.worker for record in stored}) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", pytest.param("forkserver", marks=ONLY_IN_TEST_ALL)])
def test_workers_of_multiprocessing_deliver(topics_only: Settings, tmp_path: Path, method: str) -> None:
    """Workers of a pool, of every start method, deliver when they end, without a flush of their own."""
    script = (
        PREAMBLE
        + f"""
import multiprocessing
emitter = StepEmitter()

def work(count):
    emit(emitter, count)

if __name__ == "__main__":
    emit(emitter, 5)
    context = multiprocessing.get_context({method!r})
    workers = [context.Process(target=work, args=(50,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
"""
    )
    ended = run_script(script, topics_only, folder=tmp_path)
    assert ended.code == 0, ended.log
    found = sorted(sequences(stored_events(topics_only)).values(), key=len)
    assert found == [list(range(5))] + [list(range(50))] * 3


CELERY = """
from celery import Celery
from steptrail.producers import StepEmitter
from steptrail.schemas import ProcessingStatus

app = Celery(broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"},
    worker_max_tasks_per_child=1,
    task_ignore_result=True,
)
emitter = StepEmitter()
emitter.emit(doc_id="main", step_name="ocr", status=ProcessingStatus.RUNNING)

@app.task(name="work")
def work(count):
    for number in range(count):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=ProcessingStatus.RUNNING)
"""


def test_celerys_forked_workers_deliver(topics_only: Settings, tmp_path: Path) -> None:
    """Celery's pool forks workers and ends each after its task, past every handler of Python's: all that they
    emitted is there.
    """
    (tmp_path / "tasks.py").write_text(CELERY, encoding="utf-8")
    (tmp_path / "queue").mkdir()
    environ = environ_of(topics_only, PYTHONPATH=str(tmp_path))
    send = "import tasks; [tasks.work.delay(50) for _ in range(3)]; tasks.emitter.close(30)"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=environ, check=True, timeout=300)
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "-c", "2"]
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log)
    try:
        # The first event of the one that sends, and of the main process; three times fifty of the workers.
        until(lambda: len(stored_events(topics_only)) >= 152, "events of all workers")
    finally:
        worker.terminate()
        worker.wait(60)
    found = sorted(sequences(stored_events(topics_only)).values(), key=len)
    assert found == [[0], [0]] + [list(range(50))] * 3, (tmp_path / "log").read_text()


@pytest.mark.parametrize("pool", ["gevent", pytest.param("eventlet", marks=ONLY_IN_TEST_ALL)])
def test_celerys_greenlets_deliver(topics_only: Settings, tmp_path: Path, pool: str) -> None:
    """Celery's pools of greenlets: tasks that record steps run side by side, and all that they emitted is there."""
    (tmp_path / "tasks.py").write_text(
        CELERY.replace("    worker_max_tasks_per_child=1,\n", ""), encoding="utf-8"
    )
    (tmp_path / "queue").mkdir()
    environ = environ_of(topics_only, PYTHONPATH=str(tmp_path))
    send = "import tasks; [tasks.work.delay(50) for _ in range(3)]; tasks.emitter.close(30)"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=environ, check=True, timeout=300)
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", pool, "-c", "10"]
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log)
    try:
        until(lambda: len(stored_events(topics_only)) >= 152, "events of all tasks")
    finally:
        worker.terminate()
        worker.wait(60)
    found = sorted(sequences(stored_events(topics_only)).values(), key=len)
    assert found == [[0], list(range(151))], (tmp_path / "log").read_text()


def test_a_kill_loses_only_what_was_pending(topics_only: Settings) -> None:
    """os._exit runs nothing: what had been flushed is there, and nothing else is promised."""
    ended = run_script(
        PREAMBLE
        + """
emitter = StepEmitter()
emit(emitter, 100)
assert emitter.flush(60) == 0
emit(emitter, 100)
os._exit(9)
""",
        topics_only,
    )
    assert ended.code == 9
    (numbers,) = sequences(stored_events(topics_only)).values()
    assert numbers[:100] == list(range(100))
