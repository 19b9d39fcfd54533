"""What runs in a stack's folder, as its supervisor wrote it down and as the processes show."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steptrail.deploy.stack.folder import StackFolder, read_json


@dataclass(frozen=True)
class PartStatus:
    """One part. `state`: starting, ready, not answering, crashed (restarts soon), done, stopped; uptime in seconds."""

    name: str
    state: str
    pid: int | None
    restarts: int
    uptime_s: float | None
    address: str | None
    last_exit: str | None


@dataclass(frozen=True)
class StackStatus:
    """A stack as a whole: `running` is whether a supervisor lives, `ready` whether every part answers.

    The addresses carry no password. `failure` is why the last start was given up, if it was.
    """

    dir: str
    running: bool
    ready: bool
    pid: int | None
    kafka: str | None
    clickhouse: str | None
    failure: str | None
    parts: tuple[PartStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        """As `steptrail status --json` prints it."""
        return asdict(self)


def stack_status(folder: Path) -> StackStatus:
    """Look at the stack of a folder; one that was never started is simply not running."""
    stack = StackFolder(folder)
    pid = stack.supervisor_pid()
    told = read_json(stack.status_file)
    live = pid is not None and told.get("pid") == pid
    parts = tuple(_part(each, live) for each in told.get("parts") or ())
    return StackStatus(
        dir=str(folder),
        running=pid is not None,
        ready=live and bool(told.get("ready")) and all(part.state == "ready" for part in parts),
        pid=pid,
        kafka=told.get("kafka"),
        clickhouse=told.get("clickhouse"),
        failure=told.get("failure"),
        parts=parts,
    )


def _part(told: dict[str, Any], live: bool) -> PartStatus:
    pid = told["pid"] if live else None
    gone = pid is None or not _exists(pid)
    started = told["started_at"]
    state = str(told["state"])
    if not live:
        state = "stopped"
    elif gone and state in ("ready", "starting", "not answering"):
        state = "crashed, restarts soon"  # the supervisor has not noticed yet
    return PartStatus(
        name=told["name"],
        state=state,
        pid=None if gone else pid,
        restarts=told["restarts"],
        uptime_s=None if gone or started is None else round(max(0.0, time.time() - started), 1),
        address=told["address"],
        last_exit=told["last_exit"],
    )


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
