"""`python -m faults.pools`: a pool of workers that emit, and how it is ended.

FAULTS_WORKER: folder, name, kind (one of KINDS), journal_dir. Each process that works has a record of its own, named
after it.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from support.waiting import until

KINDS = ("with-fork", "with-spawn", "with-forkserver", "terminate", "max-tasks", "killed")
_EACH = 25
_TASKS = 24

_emission: Any = None


def emission() -> Any:
    """This process's own."""
    global _emission
    if _emission is None:
        plan: dict[str, Any] = json.loads(os.environ["FAULTS_WORKER"])
        from faults import witness

        worker = f"{plan['name']}-{os.getpid()}"
        witness.install(Path(plan["folder"]) / f"{worker}.acks")
        from faults.emitting import Emission

        logging.getLogger("steptrail.steps").setLevel(logging.CRITICAL)
        _emission = Emission(Path(plan["folder"]), worker, journal_dir=plan["journal_dir"])
    return _emission


def work(_: int) -> int:
    """Some events."""
    emission().emit(_EACH)
    return os.getpid()


def steady(_: int) -> None:
    """Events until it is ended."""
    while True:
        emission().emit(5)
        time.sleep(0.001)


def _until_three_emit(plan: dict[str, Any]) -> None:
    """Wait until as many processes have had events accepted."""
    from faults.emitting import (
        accepted_by,  # late: the processes that work install their witness before steptrail
    )

    def emit() -> bool:
        counts = accepted_by(Path(plan["folder"]))
        return sum(count > 0 for name, count in counts.items() if name.startswith(f"{plan['name']}-")) >= 3

    until(emit, "events of three processes")


def main() -> int:
    """Start the pool, have it work, end it."""
    plan: dict[str, Any] = json.loads(os.environ["FAULTS_WORKER"])
    kind: str = plan["kind"]
    if kind.startswith("with-"):
        with multiprocessing.get_context(kind.removeprefix("with-")).Pool(3) as pool:
            pool.map(work, range(_TASKS), chunksize=1)
    elif kind == "max-tasks":
        context = multiprocessing.get_context("spawn")
        more: dict[str, Any] = {"max_tasks_per_child": 4} if sys.version_info >= (3, 11) else {}
        with ProcessPoolExecutor(2, mp_context=context, **more) as executor:
            for number in range(
                _TASKS // 2
            ):  # not map: CPython 3.11's max_tasks_per_child hangs when more wait
                executor.submit(work, number).result()
    elif kind == "killed":
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=steady, args=(n,)) for n in range(3)]
        for worker in workers:
            worker.start()
        _until_three_emit(plan)
        for worker in workers:
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
    else:
        pool = multiprocessing.get_context("spawn").Pool(3)
        pool.map_async(steady, range(3))
        _until_three_emit(plan)
        pool.terminate()
        pool.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
