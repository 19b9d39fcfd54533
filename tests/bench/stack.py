"""The local stack as a user starts it: `steptrail up` in a folder of its own, and `steptrail down`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPTRAIL = [sys.executable, "-m", "steptrail.deploy.cli"]


@dataclass(frozen=True)
class RunningStack:
    """Addresses of a stack that is up, and how long it took until READY."""

    directory: Path
    kafka: str
    clickhouse: str
    seconds: float


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without any STEPTRAIL_ variable, and with `tests` importable."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STEPTRAIL_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    return environment | more


def up(directory: Path, *, projector: bool = True) -> RunningStack:
    """Start a stack in `directory`. Raises RuntimeError with its output when it does not come up."""
    started = time.monotonic()
    with_projector = "--projector" if projector else "--no-projector"
    answer = _run("up", "--detach", "--json", with_projector, "--dir", str(directory))
    seconds = time.monotonic() - started
    ready = _last_object(answer)
    return RunningStack(directory, ready["kafka"], ready["clickhouse"], seconds)


def down(directory: Path) -> None:
    """Stop the stack in `directory`; nothing happens where none runs."""
    _run("down", "--dir", str(directory))


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [*STEPTRAIL, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=clean_environment(),
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"steptrail {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}"
        )
    return done.stdout


def _last_object(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found
