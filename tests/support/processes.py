"""Python processes of a test's own: a script in, what it printed as JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steptrail.schemas.configuration.settings import Settings
from support.stack import environ_of

PATIENCE_S = 300.0


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: a signal), what it printed, line by line, and its log."""

    code: int
    lines: list[Any]
    log: str


def run_script(script: str, settings: Settings | None = None, *, folder: Path | None = None) -> Ended:
    """Run Python source in a process of its own; every line that it prints is JSON.

    With a `folder` the source is a file there, which multiprocessing's spawned children can import.
    """
    if settings is not None:
        environment = environ_of(settings)
    else:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STEPTRAIL_")}
    command = [sys.executable, "-c", script]
    if folder is not None:
        file = folder / "script.py"
        file.write_text(script, encoding="utf-8")
        command = [sys.executable, str(file)]
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return Ended(ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr)
