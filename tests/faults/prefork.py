"""`python -m faults.prefork`: a server that emits, and forks workers that emit, while a thread of it goes on emitting.

FAULTS_WORKER: folder, name, forks, each (events of a child). Children come in the kinds that servers have:

    exit        os.fork, then sys.exit: Python's handlers run (gunicorn)
    pool        a process of multiprocessing's fork method: its own finalizers run (Celery's prefork)
    closed      os.fork, the emitter closed, then os._exit
    grandchild  a child that forks once more before it has emitted anything
    amid        a fork while other threads are inside of emit, and a child that emits from threads itself
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import threading
from pathlib import Path
from typing import Any

from faults import safeguards, witness

KINDS = ("exit", "pool", "closed", "grandchild", "amid")


def main() -> int:
    """Fork as told, wait for the children, and say how each ended."""
    plan: dict[str, Any] = json.loads(os.environ["FAULTS_WORKER"])
    folder, name = Path(plan["folder"]), plan["name"]
    witness.install(folder / f"{name}.acks")
    safeguards.remove(os.environ.get(safeguards.VARIABLE))
    from faults.emitting import Emission

    logging.getLogger("steptrail.steps").setLevel(logging.CRITICAL)
    emission = Emission(folder, name)
    emission.emit(200)
    aside = Emission(folder, f"{name}-aside")
    stop = threading.Event()
    thread = threading.Thread(target=aside.run, args=(stop,), kwargs={"rate": 2000})
    thread.start()
    codes: dict[str, int] = {}
    for number in range(plan["forks"]):
        kind = KINDS[number % len(KINDS)]
        child = f"{name}-{kind}-{number}"
        codes[child] = _forked(emission, child, kind, plan["each"])
        emission.emit(5)
    stop.set()
    thread.join()
    for each in (emission, aside):
        each.emitter.flush(60)
        each.emitter.close(5)
        each.account(final=True, forked=True)
    (folder / f"{name}.codes").write_text(json.dumps(codes))
    return 0


def _forked(emission: Any, child: str, kind: str, count: int) -> int:
    """Fork a child of a kind and wait for it; its exit code, -9 when it had to be killed because it hung."""
    if kind == "pool":
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_work, args=(emission, child, count))
        process.start()
        pid = process.pid
        assert pid is not None
        guard = _guard(pid)
        process.join()
        guard.cancel()
        return process.exitcode or 0
    pid = os.fork()
    if pid == 0:
        try:
            _child(emission, child, kind, count)
        except BaseException as error:
            if not isinstance(error, SystemExit):
                logging.exception("child %s failed", child)
                os._exit(3)
            raise
    guard = _guard(pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    guard.cancel()
    return code


def _guard(pid: int) -> threading.Timer:
    """A child that hangs is killed after a while."""
    timer = threading.Timer(20.0, os.kill, (pid, 9))
    timer.daemon = True
    timer.start()
    return timer


def _child(emission: Any, child: str, kind: str, count: int) -> None:
    if kind == "grandchild":
        pid = os.fork()
        if pid == 0:
            _work(emission, child, count)
            sys.exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    if kind == "amid":
        emission.go_on_as(child)
        threads = [threading.Thread(target=_emit_some, args=(emission, count // 2)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _account(emission)
        sys.exit(0)
    _work(emission, child, count)
    if kind == "closed":
        emission.emitter.close(10.0)
        emission.account(final=True, forked=True)
        os._exit(0)
    sys.exit(0)


_turn = threading.Lock()


def _emit_some(emission: Any, count: int) -> None:
    for _ in range(count):
        with _turn:  # numbers are the test's own; what is emitted in parallel is the parent's
            emission.emit()


def _work(emission: Any, child: str, count: int) -> None:
    emission.go_on_as(child)
    emission.emit(count)
    _account(emission)


def _account(emission: Any) -> None:
    emission.account(final=False, forked=True)


if __name__ == "__main__":
    sys.exit(main())
