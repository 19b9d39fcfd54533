"""Emitters in processes that fork and exit, without any broker: nothing may hang, every count is exact."""

from __future__ import annotations

import pytest

from support.effort import effort
from support.processes import run_script

CHILDREN = effort(5, 20)

PREAMBLE = """
import gc, json, logging, os, sys, threading
logging.basicConfig(format="%(message)s")
from steptrail.producers import StepEmitter, emit_only, ProcessingStepManager
from steptrail.schemas import ProcessingStatus

NOWHERE = "127.0.0.1:1"

def emit(emitter, count):
    for number in range(count):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=ProcessingStatus.RUNNING)

def tell(emitter, **more):
    told = emitter.accounting()
    print(json.dumps({
        "id": emitter.emitter_id.hex(), "accepted": told.accepted, "pending": told.pending,
        "failed": dict(told.failed), "dropped": dict(told.dropped), "balanced": told.balanced, **more}), flush=True)
"""


def test_a_process_without_a_broker_exits_and_says_what_was_left() -> None:
    """Events that are pending at exit are told in the log, and the exit code is the program's own."""
    ended = run_script(
        PREAMBLE
        + """
emitter = StepEmitter(kafka=NOWHERE, exit_flush_s=0.2)
emit(emitter, 30)
sys.exit(7)
"""
    )
    assert ended.code == 7
    assert "exits with 30 steps" in ended.log


def test_an_exception_still_flushes() -> None:
    """A program that dies of an exception exits as it would without us."""
    ended = run_script(
        PREAMBLE
        + """
manager = ProcessingStepManager(emit_only(kafka=NOWHERE, exit_flush_s=0.1))
manager.add_step("d", "ocr", "RUNNING")
raise RuntimeError("the program's own")
"""
    )
    assert ended.code == 1
    # Python writes a traceback piece by piece, and a line of the log may come between two of them.
    assert "RuntimeError" in ended.log
    assert "the program's own" in ended.log
    assert "exits with 1 steps" in ended.log


@pytest.mark.thorough
def test_forked_children_start_anew_each_time() -> None:
    """Each child has an id and counts of its own, emits, and exits clean with the inherited producer leaked."""
    ended = run_script(
        PREAMBLE
        + f"CHILDREN = {CHILDREN}"
        + """
emitter = StepEmitter(kafka=NOWHERE, exit_flush_s=0.05)
emit(emitter, 10)
for _ in range(CHILDREN):
    pid = os.fork()
    if pid == 0:
        before = emitter.accounting().accepted
        emit(emitter, 3)
        tell(emitter, before=before)
        sys.exit(3)  # the interpreter's whole end, where an inherited producer would hang
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
tell(emitter)
emitter.close(0)
tell(emitter)
"""
    )
    assert ended.code == 0, ended.log
    *children, parent, closed = ended.lines
    assert len(children) == CHILDREN
    assert len({line["id"] for line in ended.lines}) == CHILDREN + 1
    for child in children:
        assert (child["before"], child["accepted"], child["pending"]) == (0, 3, 3)
        assert child["balanced"]
    assert (parent["accepted"], parent["pending"]) == (10, 10)
    assert closed["failed"] == {"closed": 10}


def test_forks_while_other_threads_emit() -> None:
    """A fork in the middle of other threads' work leaves no lock behind in the child."""
    ended = run_script(
        PREAMBLE
        + """
emitter = StepEmitter(kafka=NOWHERE, exit_flush_s=0.05, queue_max_messages=1000)
stop = threading.Event()
def work():
    while not stop.is_set():
        emit(emitter, 50)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        emit(emitter, 5)
        tell(emitter)
        stop.set()
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
stop.set()
for thread in threads:
    thread.join()
tell(emitter)
"""
    )
    assert ended.code == 0, ended.log
    assert [line["accepted"] for line in ended.lines[:10]] == [5] * 10
    assert all(line["balanced"] for line in ended.lines)


def test_grandchildren_and_unused_emitters() -> None:
    """A child of a child has its own emitter too, and an emitter that was never used forks as well."""
    ended = run_script(
        PREAMBLE
        + """
used, unused = StepEmitter(kafka=NOWHERE, exit_flush_s=0.05), StepEmitter(kafka=NOWHERE, exit_flush_s=0.05)
closed = StepEmitter(kafka=NOWHERE)
closed.close()
emit(used, 1)
def generation(depth):
    emit(used, 1); emit(unused, 1); emit(closed, 1)
    tell(used); tell(unused); tell(closed)
    if depth and (pid := os.fork()):
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return
    if depth:
        generation(depth - 1)
        sys.exit(0)
generation(2)
"""
    )
    assert ended.code == 0, ended.log
    assert [line["accepted"] for line in ended.lines] == [2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert len({line["id"] for line in ended.lines}) == 9
    assert [line["dropped"] for line in ended.lines[2::3]] == [{"closed": 1}] * 3


def test_a_fork_inside_of_a_call_is_counted() -> None:
    """When the process forks while a step is being recorded, the child counts that step as dropped."""
    ended = run_script(
        PREAMBLE
        + """
emitter = StepEmitter(kafka=NOWHERE, exit_flush_s=0.05)
emit(emitter, 1)
pids = []
class Forks:
    def __repr__(self):
        pids.append(os.fork())
        return "forked"
emitter.emit(doc_id="d", step_name="s", status=ProcessingStatus.RUNNING, details={"x": Forks()})
if pids != [0]:
    os.waitpid(pids[0], 0)
tell(emitter, child=pids == [0])
"""
    )
    told = {line["child"]: line for line in ended.lines}
    assert told[True]["dropped"] == {"fork_inherited": 1}
    assert (told[True]["accepted"], told[True]["pending"]) == (1, 0)
    assert (told[False]["accepted"], told[False]["pending"]) == (2, 2)


@pytest.mark.parametrize("package", ["multiprocessing", "billiard"])
def test_children_of_multiprocessing(package: str) -> None:
    """Forked workers come back, those of Celery's fork of multiprocessing too, with what was left told in their log."""
    ended = run_script(
        PREAMBLE
        + f"import {package} as multiprocessing"
        + """
def work(number):
    emitter = StepEmitter(kafka=NOWHERE, exit_flush_s=0.05)
    emit(emitter, number)
emitter = StepEmitter(kafka=NOWHERE, exit_flush_s=0.05)
emit(emitter, 1)
context = multiprocessing.get_context("fork")
workers = [context.Process(target=work, args=(number,)) for number in (11, 12)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(json.dumps([worker.exitcode for worker in workers]))
"""
    )
    assert ended.code == 0
    assert ended.lines == [[0, 0]]
    for left in (11, 12, 1):
        assert f"exits with {left} steps" in ended.log


def test_sigterm_in_children_of_multiprocessing() -> None:
    """By default it delivers within its bounds, then the child dies of it; a handler of the child's own is left alone,
    and so is a main process.
    """
    ended = run_script(
        PREAMBLE
        + """
import multiprocessing, signal, time
emitter = StepEmitter(kafka=NOWHERE, exit_flush_s=0.2)

def work(ready, own):
    if own:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
    emit(emitter, 3)
    ready.set()
    while True:
        time.sleep(0.01)

context = multiprocessing.get_context("fork")
codes = []
for own in (False, True):
    ready = context.Event()
    child = context.Process(target=work, args=(ready, own))
    child.start()
    ready.wait()
    child.terminate()
    child.join()
    codes.append(child.exitcode)
emit(emitter, 1)
print(json.dumps([codes, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL]))
"""
    )
    assert ended.code == 0, ended.log
    assert ended.lines == [[[-15, 5], True]]
    assert ended.log.count("exits with 3 steps") == 1


def test_sigterm_while_the_child_ends() -> None:
    """A child that is already delivering what it had is not cut short by it."""
    ended = run_script(
        PREAMBLE
        + """
import multiprocessing, signal, time
import steptrail.producers.delivery.transport as transport
emitter = StepEmitter(kafka=NOWHERE, exit_flush_s=1.0)
flush = transport.Transport.flush

def told(self, timeout):
    if timeout > 0.5:
        os.kill(os.getpid(), signal.SIGTERM)  # in the middle of the finalizer's close
    left = flush(self, timeout)
    tell(emitter, after=True)
    return left

def work():
    transport.Transport.flush = told
    emit(emitter, 3)

child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
print(json.dumps({"code": child.exitcode}))
"""
    )
    assert ended.code == 0, ended.log
    assert ended.lines[-1] == {"code": 0}
    assert "exits with 3 steps" in ended.log
