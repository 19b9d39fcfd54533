"""The real parts of one run: a Kafka node, a ClickHouse engine, and whatever processes rows start beside them.

Every process can be killed, frozen and started again on the same port with the same data. All are started from
the main thread, in groups of their own, and a watchdog ends them if this process dies.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from steptrail.deploy.private_files import write_private
from steptrail.deploy.stack import broker, parts
from steptrail.deploy.stack.child import Child, Watchdog
from steptrail.deploy.stack.folder import StackFolder
from steptrail.deploy.stack.jars import ensure_jars
from steptrail.deploy.stack.java import find_java
from steptrail.deploy.stack.ports import is_free
from support.waiting import until

if TYPE_CHECKING:
    from support.cluster.cluster import KafkaCluster

TESTS = Path(__file__).parents[1]
PATIENCE_S = 120.0

BROKER_EXTRAS = {
    # Members that were killed or frozen are missed soon, so that rows need not wait for it.
    "group.min.session.timeout.ms": "1000",
    # A row forbids writing to its topic for a while; whatever has no rule is open to all.
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


class Process:
    """A program that runs, or has ended, with its output in a file."""

    def __init__(self, name: str, child: Child, log: Path) -> None:
        self.name = name
        self.log = log
        self._child = child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._child.poll()

    def kill(self) -> None:
        """End it by SIGKILL, with all that it started."""
        self._child.kill()

    def terminate(self) -> None:
        """Ask it to end."""
        self._child.terminate()

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    @property
    def frozen(self) -> bool:
        """Whether it is stopped by a signal."""
        stat = Path(f"/proc/{self.pid}/stat").read_text() if Path(f"/proc/{self.pid}").exists() else ""
        return stat.rpartition(") ")[2].startswith("T")

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended."""
        until(lambda: self.code is not None, f"end of {self.name}", timeout)
        assert self.code is not None
        return self.code

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Server:
    """A part of the stack: a process that is ready when it answers on its port."""

    def __init__(self, world: World, part: parts.Part) -> None:
        self._world = world
        world._servers.append(self)
        self.part = part
        self.process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = process = self._world.spawn(
            self.part.name, self.part.command, self.part.environ, log=self.part.name
        )

        def ready() -> bool:
            if process.code is not None:
                raise RuntimeError(f"{self.part.name} ended with {process.code}: {process.said()[-2000:]}")
            return self.part.ready(process.pid)

        until(ready, f"answer of {self.part.name}")

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()

    def restart(self) -> None:
        """SIGKILL, then start again."""
        self.kill()
        self.start()

    def heal(self) -> None:
        """Have it running and answering, whatever was done to it."""
        if self.process is not None and self.process.code is None:
            self.process.wake()
            with contextlib.suppress(TimeoutError):
                until(lambda: self.process and self.part.ready(self.process.pid), "answer")
                return
        self.restart()


class World:
    """Everything that one run of the matrix started; gone when it is closed."""

    def __init__(self, *, without: str | None = None, keep: bool = False) -> None:
        self.without = without
        self.folder = Path(tempfile.mkdtemp(prefix="steptrail-faults-"))
        self._keep = keep
        self._watchdog = Watchdog()
        self._processes: list[Process] = []
        self._servers: list[Server] = []
        self._cleanup = ExitStack()
        self._stack = StackFolder(self.folder / "stack")
        self._stack.create()
        kafka, controller, clickhouse = free_ports(3)
        self.at = parts.Addresses(kafka, controller, clickhouse, 0, self._stack.password())
        self._cluster: KafkaCluster | None = None
        self.broker = self._broker()
        self.engine = self.engine_on(self._stack, self.at)

    def __enter__(self) -> World:
        try:
            self.broker.start()
            self.engine.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        self._cleanup.close()
        self._watchdog.close()
        if self._keep:
            print(f"faults: kept {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def engine_url(self) -> str:
        """The engine's URL, without a database."""
        return f"http://default:{self.at.password}@127.0.0.1:{self.at.clickhouse_port}"

    def cluster(self) -> KafkaCluster:
        """Three secured Kafka nodes, started when a row first asks; whole."""
        from support.cluster.cluster import KafkaCluster

        if self._cluster is None:
            folder = self.folder / "cluster"
            folder.mkdir()
            cluster = self._cluster = KafkaCluster(folder)
            self._cleanup.callback(cluster.close)
            cluster.start()
        else:
            self._cluster.heal()
        return self._cluster

    def heal(self) -> None:
        """Broker and engine as a row may expect them."""
        self.broker.heal()
        self.engine.heal()

    def spawn(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], *, log: str | None = None
    ) -> Process:
        """Start a program; its output is appended to a file named after `log`, by default its own."""
        self._processes = [process for process in self._processes if process.code is None]
        path = self.folder / f"{log or f'{name}-{secrets.token_hex(3)}'}.log"
        process = Process(name, Child(command, log=path, environ=environ, watchdog=self._watchdog), path)
        self._processes.append(process)
        return process

    def kill_all_but_servers(self) -> None:
        """End whatever a row left running."""
        servers = {server.process.pid for server in self._servers if server.process}
        for process in self._processes:
            if process.pid not in servers:
                process.kill()

    def engine_on(self, folder: StackFolder, at: parts.Addresses, arguments: Sequence[str] = ()) -> Server:
        """An engine with its data in `folder`, not started."""
        part = parts.engine_part(folder, at, child_environ())
        command = [*part.command, *arguments]
        return Server(self, parts.Part(part.name, command, part.environ, part.ready, part.address, part.port))

    def set_engine_password(self, password: str) -> None:
        """Start the engine again with another password."""
        write_private(self._stack.password_file, f"{password}\n")
        self.engine.restart()

    @contextmanager
    def other_engine(self, folder: Path, arguments: Sequence[str] = ()) -> Iterator[tuple[Server, str]]:
        """A second engine with its data in `folder`, and its URL, without a database."""
        stack = StackFolder(folder)
        stack.create()
        [port] = free_ports(1)
        at = parts.Addresses(self.at.kafka_port, self.at.controller_port, port, 0, stack.password())
        server = self.engine_on(stack, at, arguments)
        server.start()
        try:
            yield server, f"http://default:{at.password}@127.0.0.1:{port}"
        finally:
            server.kill()

    def _broker(self) -> Server:
        java, jars = find_java(), ensure_jars(say=lambda text: print(f"faults: {text}", file=sys.stderr))
        files = broker.BrokerFiles(self._stack.kafka)
        broker.write_config(files, port=self.at.kafka_port, controller_port=self.at.controller_port)
        with files.config.open("a") as config:
            config.writelines(f"{key}={value}\n" for key, value in BROKER_EXTRAS.items())
        part = parts.broker_format_part(java, jars, files, child_environ())
        formatting = self.spawn(part.name, part.command, part.environ)
        if formatting.wait():
            raise RuntimeError(f"the broker's folder could not be formatted: {formatting.said()[-2000:]}")
        return Server(self, parts.broker_part(java, jars, files, self.at, child_environ()))


def child_environ(**more: str) -> dict[str, str]:
    """This process's environment without any of steptrail's variables, with `tests` importable."""
    environ = {
        key: value for key, value in os.environ.items() if not key.startswith(("STEPTRAIL_", "FAULTS_"))
    }
    return {**environ, "PYTHONPATH": str(TESTS), **more}


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, below those from which the system takes ports for outgoing connections.

    What is killed comes back on the same port, and in between nobody else must be given it.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(15_000, 32_000)
        if port not in found and is_free(port):
            found.append(port)
    return found
