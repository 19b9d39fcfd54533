"""A real Apache ZooKeeper, and engine servers that share KeeperMap tables through it."""

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
from support.waiting import PATIENCE_S, until

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


@contextmanager
def zookeeper() -> Iterator[int]:
    """A server on loopback; its port."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-zookeeper-"))
    [port] = free_ports(1)
    (folder / "zoo.cfg").write_text(
        f"tickTime=500\ndataDir={folder / 'data'}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
        "admin.enableServer=false\nmaxClientCnxns=0\n"
    )
    jars = [*ensure_jars(_JARS, cache=cache_dir() / f"zookeeper-{_VERSION}"), *ensure_jars()]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [
                *(str(find_java().executable), "-Xmx128m", "-cp", ":".join(map(str, jars))),
                *("org.apache.zookeeper.server.ZooKeeperServerMain", str(folder / "zoo.cfg")),
            ],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        until(
            lambda: process.poll() is not None or "binding to port" in (folder / "said").read_text(),
            "ZooKeeper",
        )
        assert process.poll() is None, (folder / "said").read_text()[-2000:]
        yield port
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def engines_with_keeper(count: int) -> Iterator[list[EngineServer]]:
    """Engine processes whose KeeperMap tables are the same rows."""
    with ExitStack() as held:
        port = held.enter_context(zookeeper())
        folders = [Path(tempfile.mkdtemp(prefix="steptrail-keeper-engine-")) for _ in range(count)]
        try:
            yield [
                held.enter_context(
                    running_engine(folder, program=_PROGRAM, environ={"ZOOKEEPER_PORT": str(port)})
                )
                for folder in folders
            ]
        finally:
            held.close()
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
