"""`steptrail` on a terminal, in processes that need not import it: forks of one that has done nothing but that.

To import what a command needs takes a second of computing, and some tests run a hundred commands. What commands import
only when they need it is imported here, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

_SERVER = """
import json, os, signal, sys
import clickhouse_connect, rich.live, rich.progress, rich.table
import steptrail.consumers.alerts.run, steptrail.consumers.health.run, steptrail.consumers.projector.run
import steptrail.consumers.dlq.service, steptrail.consumers.rebuild.rebuilding, steptrail.consumers.web.run
import steptrail.deploy.stack, steptrail.producers, steptrail.projections.reading.reader
from steptrail.deploy.cli import app
from steptrail.deploy.cli.main import build

build([])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
for line in sys.stdin:
    asked = json.loads(line)
    terminal = os.open(asked["terminal"], os.O_RDWR | os.O_NOCTTY)
    if pid := os.fork():
        os.close(terminal)
        print(pid, flush=True)
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(terminal, number)
        stream = open(number, "w", encoding="utf-8", buffering=1, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.close(terminal)
    os.environ.clear()
    os.environ.update(asked["environ"])
    app(asked["argv"])
"""


class Command:
    """A command that runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it has not ended."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)


class WarmCli:
    """Starts commands; see `warm_cli`."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def start(self, argv: Sequence[str], environ: Mapping[str, str], terminal: int) -> Command:
        """Run `steptrail` with these arguments and environment on the terminal whose file descriptor is given."""
        told = {"argv": list(argv), "environ": dict(environ), "terminal": os.ttyname(terminal)}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(told) + "\n")
        self._server.stdin.flush()
        return Command(int(self._server.stdout.readline()))


@contextmanager
def warm_cli() -> Iterator[WarmCli]:
    """The process whose forks are the commands, for the time of a with block."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdin=pipe, stdout=pipe, text=True) as server:
        yield WarmCli(server)
