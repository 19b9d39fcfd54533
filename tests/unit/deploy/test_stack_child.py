from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from steptrail.deploy.stack.child import Child, Watchdog, describe_exit
from steptrail.deploy.stack.parts import Part
from steptrail.deploy.stack.supervised import PartState, RestartPolicy, Supervised
from support.waiting import until

# A child that starts a child of its own and says both pids.
FAMILY = "import os, subprocess, sys, time; p = subprocess.Popen(['sleep', '600']);"
FAMILY += "print(os.getpid(), p.pid, flush=True); time.sleep(600)"

SUPERVISOR = """
import os, sys, time
from pathlib import Path
from steptrail.deploy.stack.child import Child, Watchdog
log = Path(sys.argv[1])
watchdog = Watchdog()
child = Child([sys.executable, "-c", sys.argv[2]], log=log, environ=os.environ, watchdog=watchdog)
while log.read_text().count(" ") < 1:
    time.sleep(0.01)
print(watchdog.pid, log.read_text(), flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    made = Watchdog()
    yield made
    made.close()


@pytest.mark.parametrize("watchdog_first", [False, True])
def test_nothing_outlives_a_killed_supervisor(tmp_path: Path, watchdog_first: bool) -> None:
    """After kill -9 of a supervisor its child is gone, and while the watchdog lives so is the child's own child."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path / "log"), FAMILY], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        watchdog, child, grandchild = map(int, supervisor.stdout.readline().split())
        try:
            assert not gone(child)
            assert not gone(grandchild)
            if watchdog_first:
                os.kill(watchdog, signal.SIGKILL)
            supervisor.kill()
            until(lambda: gone(child))
            assert watchdog_first or until(lambda: gone(grandchild))
        finally:
            for pid in (child, grandchild):
                if not gone(pid):
                    os.kill(pid, signal.SIGKILL)


def test_a_killed_watchdog_is_replaced(tmp_path: Path, watchdog: Watchdog) -> None:
    """The next start of a part brings a new watchdog, which knows the earlier parts too."""
    environ = dict(os.environ)
    first = Child(["sleep", "600"], log=tmp_path / "a", environ=environ, watchdog=watchdog)
    assert watchdog.pid is not None
    os.kill(watchdog.pid, signal.SIGKILL)
    until(lambda: watchdog.pid is None)
    second = Child(["sleep", "600"], log=tmp_path / "b", environ=environ, watchdog=watchdog)
    watchdog.close()
    until(lambda: first.poll() is not None and second.poll() is not None)
    assert (first.poll(), second.poll()) == (-signal.SIGKILL, -signal.SIGKILL)


def test_the_end_of_a_child_ends_its_group(tmp_path: Path, watchdog: Watchdog) -> None:
    """When a part dies, what it had started is ended before it is started again."""
    log = tmp_path / "log"
    child = Child([sys.executable, "-c", FAMILY], log=log, environ=dict(os.environ), watchdog=watchdog)
    until(lambda: log.read_text().count(" ") == 1)
    pid, grandchild = map(int, log.read_text().split())
    assert pid == child.pid
    os.kill(pid, signal.SIGTERM)
    until(lambda: child.poll() == -signal.SIGTERM)
    until(lambda: gone(grandchild))


def test_a_program_that_is_not_there_says_so(tmp_path: Path, watchdog: Watchdog) -> None:
    """A part whose program cannot be run ends at once with the reason in its log."""
    child = Child(["/nowhere/program"], log=tmp_path / "log", environ={}, watchdog=watchdog)
    until(lambda: child.poll() is not None)
    assert child.poll() == 1
    assert "cannot run /nowhere/program: No such file" in (tmp_path / "log").read_text()


def test_exit_codes_in_words() -> None:
    """Codes and signals read as people say them."""
    assert [describe_exit(code) for code in (0, 3, -9, -99)] == [
        "exit code 0",
        "exit code 3",
        "killed by SIGKILL",
        "killed by signal 99",
    ]


class Stage:
    """One supervised part whose program and health a test decides, on a clock of its own."""

    def __init__(self, tmp_path: Path, watchdog: Watchdog, command: list[str], *, once: bool = False) -> None:
        self.said: list[str] = []
        self.healthy = False
        part = Part("part", command, dict(os.environ), ready=lambda _: self.healthy, once=once)
        self.supervised = Supervised(
            part,
            lambda part: Child(part.command, log=tmp_path / "log", environ=part.environ, watchdog=watchdog),
            self.said.append,
            RestartPolicy(),
        )
        self.supervised.start(0.0)

    def tick_until(self, state: PartState, now: float) -> bool:
        return bool(until(lambda: self.supervised.tick(now) and self.supervised.state is state))


def test_a_crash_is_said_and_followed_by_a_start(tmp_path: Path, watchdog: Watchdog) -> None:
    """Pauses double with each crash in a row, and every crash is said with its cause."""
    stage = Stage(tmp_path, watchdog, [sys.executable, "-c", "raise SystemExit(7)"])
    now = 0.0
    for crashes, pause in enumerate((0.5, 1.0, 2.0), 1):
        assert stage.tick_until(PartState.WAITING, now)
        assert stage.said[-1] == f"part ended (exit code 7); starting it again in {pause:g} s"
        assert not stage.supervised.tick(now + pause - 0.01)
        now += pause
        assert stage.supervised.hopeless is (crashes == 3)
        assert stage.supervised.tick(now)
        assert stage.supervised.restarts == crashes
    stage.supervised.kill()


def test_readiness_is_asked_and_lost_readiness_is_said(tmp_path: Path, watchdog: Watchdog) -> None:
    """A part is ready when it answers; one that stops answering is said, and killed when it stays silent."""
    stage = Stage(tmp_path, watchdog, ["sleep", "600"])
    assert not stage.supervised.tick(0.0)
    stage.healthy = True
    assert stage.supervised.tick(1.0)
    assert stage.supervised.state is PartState.READY
    stage.healthy = False
    assert not stage.supervised.tick(2.0)  # not asked again yet
    assert not stage.supervised.tick(5.0)  # it may be busy
    assert stage.supervised.tick(9.0)
    assert stage.supervised.told(float)["state"] == "not answering"
    stage.supervised.tick(62.0)
    assert stage.tick_until(PartState.WAITING, 63.0)
    assert stage.supervised.last_exit == "killed by SIGKILL"
    assert not stage.supervised.hopeless


def test_a_part_that_runs_once_is_done(tmp_path: Path, watchdog: Watchdog) -> None:
    """Exit code 0 is done; anything else is a failure that is not repeated."""
    done = Stage(tmp_path, watchdog, [sys.executable, "-c", ""], once=True)
    assert done.tick_until(PartState.DONE, 1.0)
    failed = Stage(tmp_path, watchdog, [sys.executable, "-c", "raise SystemExit(1)"], once=True)
    assert failed.tick_until(PartState.STOPPED, 1.0)
    assert failed.supervised.hopeless


def test_a_start_that_the_system_refuses_is_a_crash(tmp_path: Path, watchdog: Watchdog) -> None:
    """When not even a process can be made (here: no folder for its log) it is said and tried again."""
    stage = Stage(tmp_path / "absent", watchdog, ["sleep", "600"])
    assert stage.supervised.state is PartState.WAITING
    assert stage.said[0].startswith("part ended (it could not be started: ")
    (tmp_path / "absent").mkdir()
    assert stage.supervised.tick(1.0)
    assert stage.supervised.pid is not None
    stage.supervised.kill()
