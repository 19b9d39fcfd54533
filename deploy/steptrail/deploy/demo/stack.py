"""The stack under a demonstration: one that runs already, or one that is started and stopped again."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steptrail.deploy import stack
from steptrail.deploy.stack.supervisor import StackStartError
from steptrail.schemas.configuration.settings import read_stack_file


@contextmanager
def stack_in(folder: Path, *, keep: bool) -> Iterator[bool]:
    """Have a stack run in `folder`; gives whether it ran before.

    One that ran before is left as it was found. One that is started here is left running with `keep`, and
    else ends with this process, whatever ends that. Raises what `steptrail.deploy.stack.up` raises.
    """
    if read_stack_file(folder) is not None:
        yield True
    elif keep:
        with contextlib.redirect_stdout(io.StringIO()):  # the READY line, with its password
            stack.up(folder, detach=True, any_port=True)
        yield False
    else:
        with _bound_to_this_process(folder):
            yield False


@contextmanager
def _bound_to_this_process(folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "steptrail.deploy.stack", "--dir", str(folder), "--any-port"]
    command += ["--parent", str(os.getpid())]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603 - our own module
        try:
            assert supervisor.stdout is not None
            if not supervisor.stdout.readline():
                supervisor.wait()
                errors.seek(0)
                raise StackStartError(
                    errors.read().strip().removeprefix("steptrail: ") or "it ended without a word"
                )
            yield
        finally:
            stack.down(folder)
            supervisor.wait()
