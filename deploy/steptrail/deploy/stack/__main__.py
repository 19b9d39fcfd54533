"""A supervisor process: ``python -m steptrail.deploy.stack --dir DIR (--detach | --parent PID)``.

Detached, as `steptrail up --detach` runs it, it prints its process id and goes on alone in a session of its
own. With a parent it stays that process's child and stops when it dies. Either way it prints the addresses
as one JSON line when the stack is ready.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from steptrail.deploy.stack.parts import Addresses
from steptrail.deploy.stack.up import run_here
from steptrail.schemas.errors import SteptrailError

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run until stopped; 1 with a message on standard error when the stack could not be started."""
    parser = argparse.ArgumentParser(prog="python -m steptrail.deploy.stack")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--no-projector", action="store_true")
    parser.add_argument("--any-port", action="store_true")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--detach", action="store_true")
    how.add_argument("--parent", type=int, metavar="PID")
    options = parser.parse_args()
    folder = options.dir.absolute()
    if options.detach:
        _leave()
    else:
        _follow(options.parent)

    def on_ready(at: Addresses) -> None:
        print(json.dumps(at.told(folder)), flush=True)
        _close_output()

    try:
        run_here(folder, on_ready, not options.no_projector, options.any_port, quiet=True)
    except SteptrailError as error:
        print(f"steptrail: {error}", file=sys.stderr)
        return 1
    return 0


def _leave() -> None:
    """Continue in a new session, detached; the calling process prints the new pid and exits."""
    if child := os.fork():
        print(child, flush=True)
        os._exit(0)
    os.setsid()


def _close_output() -> None:
    """Let whoever reads the standard output see its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _follow(parent: int) -> None:
    """Have the kernel ask this process to stop when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


if __name__ == "__main__":
    sys.exit(main())
