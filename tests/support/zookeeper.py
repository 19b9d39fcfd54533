"""A real Apache ZooKeeper, and engine servers that share KeeperMap tables through it; each can be killed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from faults.world import free_ports
from steptrail.deploy.stack.jars import LockedJar, cache_dir, ensure_jars
from steptrail.deploy.stack.java import find_java
from support.engine import EngineServer, running_engine
from support.waiting import until

_VERSION = "3.9.4"
_JARS = (
    LockedJar(
        "7bb3bb38bbddbc71424c59a7a0b170a1b2147313a84c972225ab0568dab513bf",
        f"org.apache.zookeeper:zookeeper:{_VERSION}",
    ),
    LockedJar(
        "bd9750935add09b6cb920f7bcf0fa7b9a8165c45cdafd8ee1fc6808c46ec9094",
        f"org.apache.zookeeper:zookeeper-jute:{_VERSION}",
    ),
    LockedJar(
        "cec34936faa625039f4e46123eccaa10a9eb9d9a40c6075830cd81330e259cf9",
        "io.dropwizard.metrics:metrics-core:4.1.12.1",
    ),
)
_PROGRAM = (str(Path(__file__).with_name("keeper_engine.py")),)


class ZooKeeper:
    """A server on loopback, with its data in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        [self.port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "zoo.cfg").write_text(
            f"tickTime=500\ndataDir={folder / 'data'}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\nmaxClientCnxns=0\n"
        )
        self._jars = [*ensure_jars(_JARS, cache=cache_dir() / f"zookeeper-{_VERSION}"), *ensure_jars()]

    def start(self) -> None:
        """Start it on the data that it left; return once it listens."""
        said = self._folder / "said"
        with said.open("w") as output:
            process = self._process = subprocess.Popen(
                [
                    *(str(find_java().executable), "-Xmx128m", "-cp", ":".join(map(str, self._jars))),
                    *("org.apache.zookeeper.server.ZooKeeperServerMain", str(self._folder / "zoo.cfg")),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(lambda: process.poll() is not None or "binding to port" in said.read_text(), "ZooKeeper")
        assert process.poll() is None, said.read_text()[-2000:]

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class KeeperEngine:
    """An engine server that reaches a ZooKeeper, on a port and a folder of its own."""

    def __init__(self, folder: Path, zookeeper: ZooKeeper) -> None:
        self._folder = folder
        self._zookeeper = zookeeper
        [self._port] = free_ports(1)
        self._held = ExitStack()
        self.server: EngineServer | None = None

    @property
    def is_down(self) -> bool:
        """Whether it was killed and not started again."""
        return self.server is None or self.server.process.poll() is not None

    def start(self) -> None:
        """Start it on the data that it left; return once it answers."""
        environ = {"ZOOKEEPER_PORT": str(self._zookeeper.port)}
        running = running_engine(self._folder, "--port", str(self._port), program=_PROGRAM, environ=environ)
        self.server = self._held.enter_context(running)

    def kill(self) -> None:
        """SIGKILL."""
        if self.server is not None:
            self.server.process.kill()
        self._held.close()

    def url(self, database: str) -> str:
        """Where a database of it is."""
        password = (self._folder / "password").read_text().strip()
        return f"http://default:{password}@127.0.0.1:{self._port}/{database}"


@contextmanager
def engines_with_keeper(count: int) -> Iterator[tuple[ZooKeeper, list[KeeperEngine]]]:
    """A ZooKeeper, and engine processes whose KeeperMap tables are the same rows; killed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-keeper-"))
    with ExitStack() as held:
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "zookeeper").mkdir()
        zookeeper = ZooKeeper(folder / "zookeeper")
        held.callback(zookeeper.kill)
        zookeeper.start()
        engines = []
        for number in range(count):
            (folder / f"engine-{number}").mkdir()
            engine = KeeperEngine(folder / f"engine-{number}", zookeeper)
            held.callback(engine.kill)
            engine.start()
            engines.append(engine)
        yield zookeeper, engines
