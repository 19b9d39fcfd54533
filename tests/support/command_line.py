"""Command lines run in this process, on the store and broker of some settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from steptrail.deploy.cli.main import run
from steptrail.schemas.configuration.settings import Settings
from support.stack import environ_of

Command = Callable[..., "tuple[int, str, str]"]


def command_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
) -> Command:
    """What runs a command line: its exit code, and what it wrote to standard output and error; never a traceback."""
    for name in [name for name in os.environ if name.startswith("STEPTRAIL_")]:
        monkeypatch.delenv(name)
    for name, value in environ_of(settings).items():
        monkeypatch.setenv(name, value)

    def run_it(*argv: str) -> tuple[int, str, str]:
        code = run(list(argv))
        sys.stdout.flush()
        shown = capture.readouterr()
        assert "Traceback" not in shown.err
        return code, shown.out, shown.err

    return run_it
