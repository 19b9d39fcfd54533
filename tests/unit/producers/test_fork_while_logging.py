"""A process forks while another thread of it writes a line of ours to the log."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import steptrail.producers
from steptrail.producers.fork_safe_logging import fork_safe_log

FORKS = """
    import logging, os, threading, time
    from steptrail.producers.delivery import loss_logging, process_lifecycle

    LINE_S, PATIENCE_S = {line_s}, {patience_s}

    class Buffered(logging.Handler):
        # As a file's buffer: a lock that a fork copies as it is, and that logging knows nothing of.
        buffer, writes = threading.Lock(), threading.Event()

        def emit(self, record):
            with self.buffer:
                self.writes.set()
                time.sleep(LINE_S)

    logging.getLogger().addHandler(Buffered())
    held = loss_logging.PollLog(str, {{}}, "steps")
    held.log(logging.WARNING, "%s", "nobody answers")
    threading.Thread(target=held.drain, daemon=True).start()  # as the poll thread does
    Buffered.writes.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if Buffered.buffer.acquire(timeout=PATIENCE_S) else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    held.log(logging.ERROR, "%s", "the next line")
    writes = threading.Thread(target=held.drain, daemon=True)
    writes.start()
    {joined}
    print(code, flush=True)
    os._exit(0)
"""


def _exit_code_of_the_child(**values: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORKS).format(**values)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_child_can_log_and_the_parent_goes_on_logging() -> None:
    """The fork waits until the line is written: in the child nobody would ever release the file's lock."""
    assert _exit_code_of_the_child(line_s=0.3, patience_s=10, joined="writes.join()") == "0\n"


def test_a_log_that_hangs_keeps_no_process_from_forking() -> None:
    """The fork happens all the same; the child, which logs to that very file, would have hung before, too."""
    assert _exit_code_of_the_child(line_s=3600, patience_s=0, joined="") == "1\n"


def test_each_line_says_where_it_was_written(caplog: pytest.LogCaptureFixture) -> None:
    """Not the file of the logger that forks wait for."""
    with caplog.at_level(logging.INFO):
        fork_safe_log("steptrail.test_fork").info("a line", extra={"accounting": 3})
        try:
            raise ValueError
        except ValueError:
            fork_safe_log("steptrail.test_fork").exception("another")
    first, second = (record for record in caplog.records if record.name == "steptrail.test_fork")
    assert first.filename == second.filename == Path(__file__).name
    assert vars(first)["accounting"] == 3
    assert second.exc_info


def test_every_line_of_an_emitter_is_one_that_forks_wait_for() -> None:
    """Nothing in `producers` takes a logger of its own."""
    folder = Path(steptrail.producers.__file__).parent
    own = [file.name for file in folder.rglob("*.py") if "getLogger" in file.read_text(encoding="utf-8")]
    assert own == ["fork_safe_logging.py"]
