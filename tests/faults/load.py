"""Workers that emit while faults are injected, and what they left behind: issued, acknowledged, accounted for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import witness
from faults.emitting import BLOCK, accepted_by
from faults.workspace import Workspace
from faults.world import Process
from support.waiting import until

END_S = 300.0
"""How long workers may take to deliver what they have, however slow the machine is."""


@dataclass
class Record:
    """What one row's workers wrote down, in `folder`."""

    folder: Path
    impatient: set[str] = field(default_factory=set)
    """Workers that give events up while Kafka is away; others of theirs may stand on the topic twice."""

    def issued_up_to(self) -> dict[str, int]:
        """Worker → how many of its events it may have emitted at most: a block more than it did, if it was killed."""
        found = {}
        for file in self.folder.glob("*.intent"):
            lines = file.read_bytes().split(b"\n")[:-1]
            found[file.stem] = int(lines[-1]) if lines else 0
        for account in self.accounts():
            found[account["worker"]] = account["emitted"]
        return found

    def accepted(self) -> dict[str, int]:
        """Worker → how many of its events were accepted; one more, perhaps, where it was killed."""
        return accepted_by(self.folder)

    def acknowledged(self) -> Iterator[tuple[int, int, bytes]]:
        """Partition, offset and digest of every record that was acknowledged to a worker."""
        for file in sorted(self.folder.glob("*.acks")):
            yield from witness.read(file)

    def accounts(self) -> list[dict[str, Any]]:
        """What emitters said at their end, for those processes that came to say it."""
        return [
            json.loads(line)
            for file in sorted(self.folder.glob("*.account"))
            for line in file.read_text().splitlines()
        ]


@dataclass
class Load:
    """Starts workers in a workspace and knows what they recorded."""

    workspace: Workspace
    record: Record
    workers: list[Process] = field(default_factory=list)
    _by_name: dict[str, Process] = field(default_factory=dict)

    def start(self, name: str | None = None, **plan: Any) -> Process:
        """Start a worker; see faults.worker for what a plan says."""
        name = name or f"w{len(self.workers)}"
        if "message_timeout_ms" in plan.get("settings", {}):
            self.record.impatient.add(name)
        told = {"name": name, "folder": str(self.record.folder), **plan}
        environ = self.workspace.environ(FAULTS_WORKER=json.dumps(told))
        worker = self.workspace.world.spawn(
            f"worker-{name}", [sys.executable, "-m", "faults.worker"], environ
        )
        self.workers.append(worker)
        self._by_name[name] = worker
        return worker

    def program(self, module: str, **plan: Any) -> Process:
        """Start another program that emits, with its plan in FAULTS_WORKER."""
        told = {"folder": str(self.record.folder), **plan}
        environ = self.workspace.environ(FAULTS_WORKER=json.dumps(told))
        worker = self.workspace.world.spawn(module, [sys.executable, "-m", module], environ)
        self.workers.append(worker)
        return worker

    def wait_issued(self, more_than: int) -> None:
        """Wait until about so many events more were emitted."""
        until(lambda: sum(self.record.issued_up_to().values()) > more_than + BLOCK, "emission")

    def wait_issued_by(self, name: str, count: int) -> None:
        """Wait until this worker has emitted about so many events."""
        until(lambda: self.record.issued_up_to().get(name, 0) >= count + BLOCK, f"emission by {name}")

    def wait_failing(self, name: str) -> None:
        """Wait until an event of this worker has failed."""
        until((self.record.folder / f"{name}.failing").exists, f"failed event of {name}")

    def issued(self) -> int:
        """About how many were emitted so far."""
        return sum(self.record.issued_up_to().values())

    def stop(self, timeout: float = END_S) -> None:
        """Ask the workers to deliver what they have and end, and wait until they have."""
        until(self._all_begun, "beginning of every worker")  # before that a signal just ends it
        for worker in self.workers:
            worker.terminate()
        self.join(timeout)

    def _all_begun(self) -> bool:
        begun = self.record.issued_up_to()
        return all(
            worker.code is not None or begun.get(name, 0) > 0 for name, worker in self._by_name.items()
        )

    def join(self, timeout: float = END_S, *, codes: Iterable[int] = (0,)) -> None:
        """Wait until the workers have ended; raises RuntimeError when one did not end with one of `codes`."""
        allowed = set(codes)
        for worker in self.workers:
            code = worker.wait(timeout)
            if code not in allowed:
                raise RuntimeError(f"{worker.name} ended with {code}: {worker.said()[-2000:]}")


@contextmanager
def loading(workspace: Workspace) -> Iterator[Load]:
    """A load with a folder of its own."""
    folder = workspace.world.folder / f"record-{workspace.name}"
    folder.mkdir()
    yield Load(workspace, Record(folder))
