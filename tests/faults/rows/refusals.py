"""The store answers, but will not: its disk is full, its tables are read-only, the password is wrong."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.row import Outcome, Run
from faults.workspace import Workspace
from faults.world import Process
from support.waiting import until

_DISK_MB = 384
_KEEP_FREE_MB = 64


def disk_full(run: Run) -> Outcome:
    """An engine on a file system of its own, which something else fills to the last byte, again and again."""
    times = run.pick(2, 4)
    disk = run.world.folder / "small-disk"
    with (
        small_disk(disk) as kind,
        run.world.other_engine(disk / "store", ["--keep-free", str(_KEEP_FREE_MB << 20)]) as (_, url),
        run.workspace(url) as (workspace, load),
    ):
        outcome = Outcome(0, detail={"disk": kind})
        load.start(rate=600)
        projector = workspace.projector(batch=1000)
        for number in range(times):
            workspace.wait_rows(workspace.wait_rows(-1))
            # To the margin that the engine keeps, or to the last byte.
            leave = (_KEEP_FREE_MB << 20) // 2 if number % 2 else 0
            ballast = fill(disk, leave)
            _until_it_waits(outcome, projector, number + 1)
            time.sleep(run.pick(1.0, 5.0))
            ballast.unlink()
            outcome.injected += 1
        load.stop()
        outcome = run.judged(workspace, load, outcome)
        outcome.ask(projector.code is None, f"the projector ended: {projector.said()[-500:]}")
        return outcome


def read_only(run: Run) -> Outcome:
    """Each table of the projection in turn, the ledger's among them; then another password for a while."""
    with run.workspace() as (workspace, load):
        outcome = Outcome(0)
        load.start(rate=500)
        projector = workspace.projector(batch=1000)
        for table in ("steps", "step_executions", "projection_ledger", "projection_claims") * run.pick(1, 2):
            workspace.wait_rows(workspace.wait_rows(-1))
            waits = _waits(projector)
            _alter(workspace, table, "MODIFY SETTING table_readonly = 1")
            if table == "projection_claims":
                # Claims are made when something went wrong, so let something go wrong.
                _alter(workspace, "steps", "MODIFY SETTING table_readonly = 1")
                _until_it_waits(outcome, projector, waits + 1)
                _alter(workspace, "steps", "RESET SETTING table_readonly")
            _until_it_waits(outcome, projector, waits + 1)
            time.sleep(run.pick(1.0, 3.0))
            _alter(workspace, table, "RESET SETTING table_readonly")
            outcome.injected += 1
            outcome.ask(projector.code is None, f"{table} read-only: it ended, {projector.said()[-500:]}")
        workspace.wait_rows(workspace.wait_rows(-1))
        right = run.world.at.password
        run.world.set_engine_password("not-the-one-that-it-was")
        _until(outcome, lambda: "uthentication failed" in projector.said(), "message that says what is wrong")
        run.world.set_engine_password(right)
        outcome.injected += 1
        load.stop()
        outcome = run.judged(workspace, load, outcome)
        outcome.ask(projector.code is None, f"the projector ended: {projector.said()[-500:]}")
        outcome.ask(right not in projector.said(), "the log shows the password")
        return outcome


@contextmanager
def small_disk(folder: Path) -> Iterator[str]:
    """A file system of `_DISK_MB` MB at `folder`; what kind it is. Raises RuntimeError where none may be made."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m,mode=700", "steptrail-faults", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(
            f"no small disk can be mounted here ({made.stderr.strip()}): run this row as root, or in a user "
            "namespace of its own: unshare --user --map-root-user --mount make faults"
        )
    try:
        yield f"tmpfs of {_DISK_MB} MB"
    finally:
        libc = ctypes.CDLL(None, use_errno=True)
        detach = 2  # MNT_DETACH: what still uses it keeps it until it ends
        libc.umount2(os.fsencode(folder), detach)


def fill(folder: Path, leave: int) -> Path:
    """A file that takes all of the file system's room but `leave` bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        # Others write there too, so that what was free a moment ago need not be.
        for _ in range(100):
            found = os.statvfs(folder)
            room = found.f_bavail * found.f_frsize - leave
            if room < found.f_frsize:
                break
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), ballast.stat().st_size, room)
    return ballast


def _alter(workspace: Workspace, table: str, change: str) -> None:
    workspace.store.command(f"ALTER TABLE {table} {change}")


def _waits(projector: Process) -> int:
    return projector.said().count("waiting for")


def _until_it_waits(outcome: Outcome, projector: Process, times: int) -> None:
    _until(outcome, lambda: _waits(projector) >= times, "message that it waits for the store")


def _until(outcome: Outcome, condition: Callable[[], bool], what: str) -> None:
    try:
        until(condition, what)
    except TimeoutError as late:
        outcome.wrong.append(str(late))
