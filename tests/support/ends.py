"""Programs whose workers end in every way there is, and what they had accepted by then.

Each worker writes a line to a file of its own right after `add_step` has returned, past everything of ours: what is in
there was accepted, however the worker ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from steptrail.schemas import Settings, Topics
from steptrail.schemas.wire.codec import decode_event
from steptrail.schemas.wire.framing import split_frame
from steptrail.schemas.wire.headers import times_resent
from support.projecting import read_all
from support.stack import environ_of

PREAMBLE = """
import os, signal, sys, time
from steptrail.producers import ProcessingStepManager, emit_only
manager = ProcessingStepManager(emit_only())
FOLDER = os.environ["ACCEPTED"]

def record(doc_id):
    manager.add_step(doc_id, "parse", "SUCCESS", details={"text": "x" * 200})
    fd = os.open(os.path.join(FOLDER, f"{os.getpid()}.accepted"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, doc_id.encode() + b"\\n")
    os.close(fd)

def work(number):
    for part in range(5):
        record(f"doc-{number}-{part}")
    return number
"""


@dataclass(frozen=True)
class Arrived:
    """What stands on the topic."""

    docs: Counter[str]
    """How many events each document has, by their ids."""
    unmarked: int
    """Records whose event had been there before, and that do not say that they were sent again."""


def environ(settings: Settings, folder: Path, journal: Path | None) -> dict[str, str]:
    """The environment of a program whose workers record in `folder`."""
    accepted = folder / "accepted"
    accepted.mkdir(exist_ok=True)
    more = {} if journal is None else {"STEPTRAIL_JOURNAL_DIR": str(journal)}
    return {**environ_of(settings), "ACCEPTED": str(accepted), "PYTHONPATH": str(folder), **more}


def run_program(source: str, settings: Settings, folder: Path, journal: Path | None) -> tuple[int, str]:
    """Run PREAMBLE and `source` as a file; its exit code and its output."""
    file = folder / "program.py"
    file.write_text(PREAMBLE + source, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(file)],
        cwd=folder,
        env=environ(settings, folder, journal),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def accepted(folder: Path) -> set[str]:
    """The documents whose event was accepted."""
    return {
        doc for file in (folder / "accepted").glob("*.accepted") for doc in file.read_text().split("\n")[:-1]
    }


def drained(settings: Settings, journal: Path) -> dict[str, int]:
    """Run `steptrail run spool --once`; what it said."""
    ran = subprocess.run(
        [sys.executable, "-m", "steptrail.deploy.cli", "run", "spool", "--once", "--json", str(journal)],
        env=environ_of(settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told: dict[str, int] = json.loads(ran.stdout)
    return told


def arrived(settings: Settings) -> Arrived:
    """Read the topic."""
    seen: set[bytes] = set()
    docs: Counter[str] = Counter()
    unmarked = 0
    for message in read_all(settings, Topics.from_settings(settings).steps.name):
        value = message.value()
        assert isinstance(value, bytes)
        event = decode_event(value[split_frame(value).length :])
        if event.event_id in seen:
            unmarked += not times_resent(message.headers())
            continue
        seen.add(event.event_id)
        docs[event.doc_id] += 1
    return Arrived(docs, unmarked)
