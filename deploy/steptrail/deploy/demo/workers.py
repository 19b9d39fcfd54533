"""The demonstration's worker processes, seen from the process that starts them."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from steptrail.schemas.errors import SteptrailError


class WorkerFailed(SteptrailError):
    """A worker process ended without its report; the message holds its last words."""


@dataclass(frozen=True)
class _Worker:
    process: subprocess.Popen[str]
    errors: IO[str]
    """What it wrote to standard error; a file, since a pipe that nobody empties would stop it."""


@dataclass(frozen=True)
class WorkerReport:
    """A worker's report at its end: its emitter, its accounting, the documents that it processed."""

    emitter_id: str
    documents: int
    accepted: int
    delivered: int
    failed: dict[str, int]
    dropped: dict[str, int]
    pending: int
    spooled: int


def run_workers(
    job: dict[str, Any],
    documents: Sequence[str],
    count: int,
    on_progress: Callable[[int], None],
) -> list[WorkerReport]:
    """Share `documents` among `count` processes, wait for them, and return their reports.

    `job` goes to each of them on its standard input, with its share of the documents.
    `on_progress` is called with how many documents are done in all. Raises WorkerFailed. However this ends,
    no worker is left running.
    """
    lines: queue.SimpleQueue[tuple[int, dict[str, Any] | None]] = queue.SimpleQueue()
    done = [0] * count
    reports: dict[int, WorkerReport] = {}
    with _started(count) as workers:
        for index, worker in enumerate(workers):
            told = {**job, "documents": list(documents[index::count])}
            threading.Thread(target=_converse, args=(index, worker.process, told, lines), daemon=True).start()
        open_ends = count
        while open_ends:
            index, line = lines.get()
            if line is None:
                open_ends -= 1
                if index not in reports:
                    raise WorkerFailed(_last_words(index, workers[index]))
            elif "report" in line:
                reports[index] = WorkerReport(**line["report"])
            else:
                done[index] = int(line["done"])
                on_progress(sum(done))
    on_progress(sum(report.documents for report in reports.values()))
    return [reports[index] for index in range(count)]


@contextmanager
def _started(count: int) -> Iterator[list[_Worker]]:
    workers: list[_Worker] = []
    with ExitStack() as files:
        try:
            for _ in range(count):
                errors = files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
                process = subprocess.Popen(
                    [sys.executable, "-m", "steptrail.deploy.demo.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    encoding="utf-8",
                    env={**os.environ, "PYTHONWARNINGS": "ignore"},
                )
                workers.append(_Worker(process, errors))
            yield workers
        except BaseException:
            for worker in workers:
                worker.process.terminate()
            raise
        finally:
            for worker in workers:
                _end(worker.process)


def _end(process: subprocess.Popen[str]) -> None:
    """Let it end by itself, ask it to, make it: three seconds each."""
    for insist in (process.poll, process.terminate, process.kill):
        insist()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            continue
        return


def _converse(
    index: int,
    process: subprocess.Popen[str],
    job: dict[str, Any],
    lines: queue.SimpleQueue[tuple[int, dict[str, Any] | None]],
) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as stdin:
            json.dump(job, stdin)
        for line in process.stdout:
            lines.put((index, json.loads(line)))
    except (OSError, ValueError):
        pass  # it ended early: its report is missing, and that is reported
    finally:
        lines.put((index, None))


def _last_words(index: int, worker: _Worker) -> str:
    try:
        ended = f"exit code {worker.process.wait(5)}"
    except subprocess.TimeoutExpired:
        ended = "still running"
    worker.errors.seek(0)
    words = worker.errors.read()[-2000:].strip()
    return f"worker {index} ended without its report ({ended})" + (f":\n{words}" if words else "")
