"""`steptrail up` and `down`: start a stack here or in the background, and stop it."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from steptrail.deploy.private_files import open_private
from steptrail.deploy.stack.folder import StackFolder
from steptrail.deploy.stack.jars import ensure_jars
from steptrail.deploy.stack.java import find_java
from steptrail.deploy.stack.logs import tail
from steptrail.deploy.stack.parts import Addresses
from steptrail.deploy.stack.supervisor import StackStartError, Supervisor, logger

STOP_S = 45.0
"""How long `down` lets a supervisor stop its parts before it is killed, and they with it."""


def up(
    folder: Path,
    *,
    detach: bool = False,
    json_output: bool = False,
    with_projector: bool = True,
    any_port: bool = False,
) -> int:
    """Start the stack of a folder and print one line when it is ready; the exit code.

    In the foreground it stays until SIGTERM or SIGINT, with its messages on standard error; detached, it
    returns once the stack is ready. `any_port` leaves the first choice of ports to the system. The line is
    ``READY kafka=... clickhouse=... dir=...``, or a JSON object of the same keys, and holds the store's
    password. Raises StackRunningError, StackStartError, JarMismatchError, ConfigurationError.
    """
    folder = folder.expanduser().absolute()
    if not detach:
        run_here(folder, lambda at: _say_ready(at.told(folder), json_output), with_projector, any_port)
        return 0
    # Here as well as in the background: their errors keep their type, and a long download is announced.
    stack = StackFolder(folder)
    stack.create()
    stack.lock().close()
    find_java()
    ensure_jars(say=lambda text: print(f"steptrail: {text}", file=sys.stderr, flush=True))
    _say_ready(_start_detached(stack, with_projector, any_port), json_output)
    return 0


def down(folder: Path) -> bool:
    """Stop the stack of a folder and wait until it has ended; False when none ran there.

    One that does not stop in 45 s is killed with all its parts.
    """
    stack = StackFolder(folder.expanduser().absolute())
    pid = stack.supervisor_pid()
    if pid is None:
        return False
    for number, patience in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if stack.supervisor_pid() != pid:
                stack.stack_file.unlink(missing_ok=True)
                return True
            time.sleep(0.05)
    return True


def run_here(
    folder: Path,
    on_ready: Callable[[Addresses], None],
    with_projector: bool = True,
    any_port: bool = False,
    quiet: bool = False,
) -> None:
    """Be the supervisor of a folder until a signal ends it; messages go to its log and to standard error."""
    stack = StackFolder(folder)
    stack.create()
    handlers: list[logging.Handler] = [
        logging.handlers.RotatingFileHandler(stack.log("supervisor"), maxBytes=1 << 20, backupCount=1)
    ]
    handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    if not quiet:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[1].setFormatter(logging.Formatter("steptrail: %(message)s"))
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        Supervisor(stack, with_projector=with_projector, any_port=any_port, on_ready=on_ready).run()
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def _start_detached(stack: StackFolder, with_projector: bool, any_port: bool) -> dict[str, str]:
    command = [sys.executable, "-m", "steptrail.deploy.stack", "--dir", str(stack.path), "--detach"]
    command += [] if with_projector else ["--no-projector"]
    command += ["--any-port"] if any_port else []
    log = open_private(stack.log("supervisor-output"), os.O_WRONLY | os.O_TRUNC)
    with os.fdopen(log, "wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output, text=True
        )
    # Two lines: the pid of what goes on alone, and the addresses. The pipe ends early if it fails.
    assert process.stdout is not None
    with process.stdout as said:
        pid = said.readline().strip()
        process.wait()
        try:
            ready = said.readline()
        except BaseException:  # interrupted while it starts: then it is not wanted any more
            if pid.isdigit():
                os.kill(int(pid), signal.SIGTERM)
            raise
    if not ready:
        raise StackStartError(_last_words(stack))
    addresses: dict[str, str] = json.loads(ready)
    return addresses


def _last_words(stack: StackFolder) -> str:
    words = tail(stack.log("supervisor-output")).removeprefix("steptrail: ")
    return words or f"the stack was stopped before it was ready; its logs are in {stack.logs}"


def _say_ready(addresses: dict[str, str], json_output: bool) -> None:
    if json_output:
        print(json.dumps(addresses), flush=True)
    else:
        print("READY " + " ".join(f"{key}={value}" for key, value in addresses.items()), flush=True)
