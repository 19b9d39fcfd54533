from __future__ import annotations

import signal
import subprocess
import sys

from steptrail.producers import StepEmitter
from steptrail.schemas import ProcessingStatus

RUNNING = ProcessingStatus.RUNNING


def emit(emitter: StepEmitter, count: int) -> None:
    for number in range(count):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=RUNNING)


def test_a_signal_handler_may_emit() -> None:
    """A handler that emits while the interrupted code emits neither deadlocks nor spoils the counts."""
    emitter = StepEmitter(kafka="127.0.0.1:1")
    handled = 0

    def handler(_signal: int, _frame: object) -> None:
        nonlocal handled
        handled += 1
        emit(emitter, 1)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    emitted = 0
    try:
        while handled < 200:
            emit(emitter, 10)
            emitted += 10
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    accounting = emitter.accounting()
    assert accounting.accepted == emitted + handled
    assert accounting.balanced
    poller = emitter._transport._poller
    assert poller is not None
    assert poller.producer is not None
    of_its_own = len(poller.producer) - accounting.pending  # reports of the emitter, where the test took long
    assert 0 <= of_its_own <= 2
    emitter.close(0)


def test_no_thread_of_an_emitter_takes_a_signal_that_the_program_blocks() -> None:
    """As Celery's workers block SIGTERM while they hold a shared queue: it stays pending, nobody dies."""
    program = """
import os, signal, threading, time
from steptrail.producers import StepEmitter
emitter = StepEmitter(kafka="127.0.0.1:1")  # librdkafka's mock of a broker has a thread that takes signals
emitter.emit(doc_id="d", step_name="ocr", status="SUCCESS")
while not any(thread.name == "steptrail-poll" and thread.is_alive() for thread in threading.enumerate()):
    time.sleep(0.01)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.kill(os.getpid(), signal.SIGTERM)
emitter.emit(doc_id="d", step_name="ocr", status="SUCCESS")
assert emitter.flush(0.5) == 2
assert signal.SIGTERM in signal.sigpending()
emitter.close(0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
