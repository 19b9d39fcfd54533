"""Workers with a journal that end in every way, killed ones above all: what was accepted is there, once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from faults.load import Load
from faults.pools import KINDS
from faults.row import Outcome, Run
from faults.workspace import Workspace
from support.waiting import until

_AT_ONCE = 10


def killed(run: Run) -> Outcome:
    """Each worker is killed at a moment of its own, while it emits, starts, changes its segment or closes."""
    outcome = Outcome(0)
    with run.workspace() as (workspace, load):
        workspace.projector(batch=2_000)
        settings = {"journal_dir": str(load.record.folder / "journal")}
        number, wanted = 0, run.pick(40, 200)
        while number < wanted:
            wave = [
                load.start(f"k{number + n}", rate=run.rng.choice((200, 2_000)), filler=300, settings=settings)
                for n in range(_AT_ONCE)
            ]
            for worker in wave:
                name = f"k{number}"
                number += 1
                least = run.rng.choice((0, 0, 100, 1_000))
                until(lambda at=name, n=least: load.record.accepted().get(at, -1) >= n, "emission")  # type: ignore[misc]
                time.sleep(run.rng.random() * 0.3)
                worker.kill()
                worker.wait()
                outcome.injected += 1
        return _drained(run, workspace, load, outcome, settings["journal_dir"])


def ended(run: Run) -> Outcome:
    """The ways of pools and of single workers, each with its own processes."""
    outcome = Outcome(0)
    with run.workspace() as (workspace, load):
        workspace.projector(batch=2_000)
        folder = str(load.record.folder / "journal")
        for number in range(run.pick(1, 6)):
            for kind in KINDS:
                program = load.program("faults.pools", name=f"{kind}-{number}", kind=kind, journal_dir=folder)
                code = program.wait()
                outcome.ask(code == 0, f"{kind} ended with {code}: {program.said()[-500:]}")
                outcome.injected += 1
            for end, wanted in (("sigterm", -15), ("_exit", 7)):
                told: dict[str, Any] = {"end": end, "close": False, "settings": {"journal_dir": folder}}
                worker = load.start(f"{end}-{number}", count=1_500, **told)
                outcome.ask(worker.wait() == wanted, f"{end} ended with {worker.code}")
                outcome.injected += 1
        return _drained(run, workspace, load, outcome, folder)


def _drained(run: Run, workspace: Workspace, load: Load, outcome: Outcome, journal: str) -> Outcome:
    """Send what is left, and compare what was accepted with what is there."""
    command = [sys.executable, "-m", "steptrail.deploy.cli", "run", "spool", "--once", "--json", journal]
    ran = subprocess.run(
        command, env=workspace.environ(), capture_output=True, text=True, timeout=300, check=False
    )
    outcome.ask(
        ran.returncode == 0, f"run spool ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-500:]}"
    )
    # One that was killed as it made a file leaves that under another name, empty; it is removed when it is old.
    left = [path.name for path in Path(journal).iterdir() if path.suffix != ".new"]
    outcome.ask(not left, f"files are left in the journals' folder: {left[:5]}")
    run.judged(workspace, load, outcome)
    found, accepted = workspace.rows_of_workers(), load.record.accepted()
    missing = {
        name: count - found.get(name, 0) for name, count in accepted.items() if found.get(name, 0) < count
    }
    # One that it was killed in may have been accepted before it was counted.
    more = {name: found[name] - count for name, count in accepted.items() if found.get(name, 0) > count + 1}
    outcome.ask(
        not missing, f"accepted and not there, of {len(missing)} workers: {dict(sorted(missing.items())[:5])}"
    )
    outcome.ask(not more, f"there and not accepted, of {len(more)} workers: {dict(sorted(more.items())[:5])}")
    outcome.ask(sum(accepted.values()) > 0, "nothing was accepted")
    if ran.returncode == 0:
        outcome.detail["sent_from_journals"] = sent = json.loads(ran.stdout)["sent"]
        outcome.ask(sent > 0, "nothing was left in the journals: no worker was ended with anything pending")
    outcome.detail.update(accepted=sum(accepted.values()), rows=sum(found.values()), workers=len(accepted))
    return outcome
