"""All the ways in which workers end, with real processes: with a journal nothing accepted is lost, nothing double."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from steptrail.producers import StepEmitter
from steptrail.schemas import ProcessingStatus, Settings
from support.effort import ONLY_IN_TEST_ALL
from support.ends import PREAMBLE, accepted, arrived, drained, environ, run_program
from support.projecting import projected, projecting
from support.waiting import until

POOL = """
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("{method}").Pool(4) as pool:
        assert len(pool.map(work, range(40), chunksize=1)) == 40
"""
TERMINATE = """
import multiprocessing
def steady(number):
    for part in range(100_000):
        record(f"doc-{number}-{part}")
if __name__ == "__main__":
    pool = multiprocessing.get_context("fork").Pool(3)
    pool.map_async(steady, range(3))
    while sum(os.path.getsize(os.path.join(FOLDER, f)) for f in os.listdir(FOLDER)) < 5_000:
        time.sleep(0.05)
    pool.terminate()
    pool.join()
"""
EXECUTOR = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context{more}) as executor:
        for number in range(12):  # not map: CPython 3.11's max_tasks_per_child hangs when more tasks wait
            assert executor.submit(work, number).result() == number
"""
LOKY = """
if __name__ == "__main__":
    import joblib
    from program import work
    assert joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(work)(n) for n in range(12)) == list(range(12))
"""
ENDED = """
if __name__ == "__main__":
    for number in range(40):
        work(number)
    {end}
"""

LOSSLESS = {
    "with Pool, fork": POOL.format(method="fork"),
    "with Pool, spawn": POOL.format(method="spawn"),
    "with Pool, forkserver": POOL.format(method="forkserver"),
    "Pool.terminate": TERMINATE,
    "ProcessPoolExecutor": EXECUTOR.format(more=""),
    "max_tasks_per_child": EXECUTOR.format(
        more=", max_tasks_per_child=2" if sys.version_info >= (3, 11) else ""
    ),
    "joblib": LOKY,
}
"""Without a journal, too, while the broker keeps up."""
WITH_A_JOURNAL = {
    "os._exit": ENDED.format(end="os._exit(0)"),
    "SIGTERM by default": ENDED.format(end="os.kill(os.getpid(), signal.SIGTERM)"),
    "kill -9": ENDED.format(end="os.kill(os.getpid(), signal.SIGKILL)"),
    "out of an executor": EXECUTOR.format(more="") + "    os.kill(os.getpid(), signal.SIGKILL)\n",
}
CODES = {"SIGTERM by default": -15, "kill -9": -9, "out of an executor": -9}


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("end", LOSSLESS)
def test_loses_nothing_by_itself(topics_only: Settings, tmp_path: Path, end: str) -> None:
    """Everything that was accepted arrives without a journal, and without a flush in the program."""
    code, said = run_program(LOSSLESS[end], topics_only, tmp_path, None)
    assert code == 0, said
    told = accepted(tmp_path)
    assert len(told) >= 60
    found = arrived(topics_only)
    assert told <= found.docs.keys(), said
    assert set(found.docs.values()) == {1}


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("end", [*LOSSLESS, *WITH_A_JOURNAL])
def test_loses_nothing_with_a_journal(topics_only: Settings, tmp_path: Path, end: str) -> None:
    """Everything that was accepted arrives once, at the latest with `run spool`; then no file is left."""
    journal = tmp_path / "journal"
    program = {**LOSSLESS, **WITH_A_JOURNAL}[end]
    code, said = run_program(program, topics_only, tmp_path, journal)
    assert code == CODES.get(end, 0), said
    check(topics_only, tmp_path, journal, at_least=60)


def check(settings: Settings, folder: Path, journal: Path, *, at_least: int) -> None:
    told = accepted(folder)
    assert len(told) >= at_least
    drained(settings, journal)
    found = arrived(settings)
    assert told <= found.docs.keys()
    # What a worker was killed in may have been accepted before it could be written down.
    assert set(found.docs.values()) == {1}
    assert found.unmarked == 0
    assert list(journal.iterdir()) == []


CELERY = (
    PREAMBLE
    + """
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
app = Celery("program", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"},
    task_ignore_result=True, worker_prefetch_multiplier=1,
)

@app.task(name="soft", soft_time_limit=1)
def soft(number):
    try:
        for part in range(1_000_000):
            record(f"soft-{number}-{part}")
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        record(f"soft-{number}-end")

@app.task(name="hard", time_limit=1)
def hard(number):
    for part in range(1_000_000):
        record(f"hard-{number}-{part}")
        time.sleep(0.001)

@app.task(name="memory")
def memory(number):
    for part in range(20):
        record(f"memory-{number}-{part}")

@app.task(name="last")
def last():
    record("last-0-0")
"""
)


@ONLY_IN_TEST_ALL
def test_celerys_limits(topics_only: Settings, tmp_path: Path) -> None:
    """Soft and hard time limits, and a worker that is replaced because of its memory."""
    journal = tmp_path / "journal"
    (tmp_path / "program.py").write_text(CELERY, encoding="utf-8")
    (tmp_path / "queue").mkdir()
    settings = environ(topics_only, tmp_path, journal)
    send = "from program import *; soft.delay(0); hard.delay(0); [memory.delay(n) for n in range(4)]; last.delay()"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=settings, check=True, timeout=300)
    command = [sys.executable, "-m", "celery", "-A", "program", "worker", "--pool", "prefork", "-c", "1"]
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            [*command, "--max-memory-per-child", "1"], cwd=tmp_path, env=settings, stdout=log, stderr=log
        )
    try:
        until(lambda: "last-0-0" in accepted(tmp_path), "last task")
    finally:
        worker.terminate()
        worker.wait(60)
    told = accepted(tmp_path)
    assert {doc.partition("-")[0] for doc in told} == {"soft", "hard", "memory", "last"}
    check(topics_only, tmp_path, journal, at_least=100)


GUNICORN = (
    PREAMBLE
    + """
def app(environ, start_response):
    work(environ["PATH_INFO"].strip("/"))
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
)


def _gracefully(server: subprocess.Popen[bytes], _worker: int) -> None:
    server.terminate()


def _at_once(server: subprocess.Popen[bytes], _worker: int) -> None:
    server.send_signal(signal.SIGQUIT)


def _killed(server: subprocess.Popen[bytes], worker: int) -> None:
    os.kill(worker, signal.SIGKILL)
    server.send_signal(signal.SIGKILL)


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("end", [_gracefully, _at_once, _killed])
def test_gunicorn(
    topics_only: Settings, tmp_path: Path, end: Callable[[subprocess.Popen[bytes], int], None]
) -> None:
    """A server that is ended gracefully, at once, or killed with its worker."""
    import http.client
    import socket

    journal = tmp_path / "journal"
    (tmp_path / "program.py").write_text(GUNICORN, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--preload",
        "-w",
        "1",
        "-b",
        f"127.0.0.1:{port}",
        "program:app",
    ]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environ(topics_only, tmp_path, journal), stdout=log, stderr=log
        )

    def asked(number: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        try:
            connection.request("GET", f"/{number}")
            return int(connection.getresponse().read())
        except ConnectionError:
            return 0
        finally:
            connection.close()

    try:
        worker = until(lambda: asked(0), "answer")
        for number in range(1, 20):
            worker = asked(number)
    finally:
        end(server, worker)
        server.wait(60)
    until(lambda: not _alive(worker), "end of the worker")
    check(topics_only, tmp_path, journal, at_least=100)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_next_emitter_sends_what_was_left(workspace: Settings, tmp_path: Path) -> None:
    """A worker that was killed leaves a gap; the next one on the host closes it, under the old one's numbers."""
    journal = tmp_path / "journal"
    code, said = run_program(WITH_A_JOURNAL["kill -9"], workspace, tmp_path, journal)
    assert code == -9, said
    left = list(journal.iterdir())
    assert left
    with StepEmitter(workspace, journal_dir=str(journal)) as living:
        living.emit(doc_id="next", step_name="parse", status=ProcessingStatus.SUCCESS)
        until(lambda: not any(path.exists() for path in left), "end of the files")
        assert living.accounting().accepted == 1
    told = accepted(tmp_path)
    assert len(told) == 200
    with projected(workspace) as store, projecting(workspace):
        until(lambda: store.count() == 201, "projection")
        gaps = "SELECT sum(events) FROM emitter_gaps"
        until(lambda: not int(store.clickhouse.query(gaps)[0][0] or 0), "closed gaps")


def test_what_is_kept_in_a_living_process_is_sent_by_it(topics_only: Settings, tmp_path: Path) -> None:
    """Events that did not fit into the queue, or timed out, wait in the journal, and are delivered: all once."""
    emitter = StepEmitter(topics_only, journal_dir=str(tmp_path), queue_max_messages=50)
    for number in range(3000):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=ProcessingStatus.SUCCESS)
    assert emitter.accounting().balanced
    assert emitter.accounting().spooled > 0

    def settled() -> bool:
        accounting = emitter.accounting()
        assert accounting.balanced
        return accounting.spooled == 0 and accounting.pending == 0

    until(settled, "delivery of all")
    emitter.close()
    accounting = emitter.accounting()
    assert (accounting.delivered, accounting.lost, accounting.unjournalled) == (3000, 0, 0)
    assert list(tmp_path.iterdir()) == []
    found = arrived(topics_only)
    assert (len(found.docs), set(found.docs.values()), found.unmarked) == (3000, {1}, 0)


@ONLY_IN_TEST_ALL
def test_what_close_could_not_deliver_is_kept(topics_only: Settings, tmp_path: Path) -> None:
    """Without a broker close() leaves all in the journal and says so: spooled, not failed."""
    emitter = StepEmitter(topics_only, journal_dir=str(tmp_path), kafka="127.0.0.1:1")
    for number in range(200):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=ProcessingStatus.SUCCESS)
    emitter.close(0)
    accounting = emitter.accounting()
    assert (accounting.spooled, accounting.lost, accounting.pending) == (200, 0, 0)
    assert accounting.balanced
    assert drained(topics_only, tmp_path)["sent"] == 200
    assert len(arrived(topics_only).docs) == 200


@ONLY_IN_TEST_ALL
def test_forked_children_have_journals_of_their_own(topics_only: Settings, tmp_path: Path) -> None:
    """Parent and child never write to one file, each is killed, and all of both arrives."""
    program = """
work(0)
if os.fork() == 0:
    work(1)
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
work(2)
assert len({name.split("-")[0] for name in os.listdir(os.environ["STEPTRAIL_JOURNAL_DIR"])}) == 2
os.kill(os.getpid(), signal.SIGKILL)
"""
    code, said = run_program(program, topics_only, tmp_path, tmp_path / "journal")
    assert code == -9, said
    check(topics_only, tmp_path, tmp_path / "journal", at_least=15)


def test_a_worker_without_room_goes_on(topics_only: Settings, tmp_path: Path) -> None:
    """A real limit on files, met as a full disk is: the worker goes on, delivers, and counts what is not journalled."""
    program = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
work(0)
assert manager.flush(30) == 0
accounting = manager.storage.accounting()
assert (accounting.delivered, accounting.unjournalled) == (5, 5), accounting
"""
    code, said = run_program(program, topics_only, tmp_path, tmp_path / "journal")
    assert code == 0, said
    assert said.count("takes no more steps") <= 1
    assert list((tmp_path / "journal").iterdir()) == []
