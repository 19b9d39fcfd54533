"""Python processes of a test's own: a script in, what it printed as JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from steptrail.schemas.settings import Settings

PATIENCE_S = 90.0


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: a signal), what it printed, line by line, and its log."""

    code: int
    lines: list[Any]
    log: str


def run_script(script: str, *arguments: str, settings: Settings | None = None) -> Ended:
    """Run Python source in a process of its own; every line that it prints is JSON."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STEPTRAIL_")}
    if settings is not None:
        environment |= {"STEPTRAIL_KAFKA": settings.kafka, "STEPTRAIL_TOPIC_PREFIX": settings.topic_prefix}
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Ended(ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr)
