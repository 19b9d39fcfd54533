"""The parts of a local stack: how each is started, when it counts as ready, how long it may take."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steptrail.deploy.stack import broker
from steptrail.deploy.stack.folder import StackFolder
from steptrail.deploy.stack.java import Java
from steptrail.deploy.stack.ports import HOST

DATABASE = "steptrail"


@dataclass(frozen=True)
class Addresses:
    """Where the parts of a stack listen, and the password of its store."""

    kafka_port: int
    controller_port: int
    clickhouse_port: int
    metrics_port: int
    password: str
    alerts_port: int = 0
    health_port: int = 0
    web_port: int = 0
    """Of the HTTP API; 0: it does not run."""

    @property
    def kafka(self) -> str:
        """``host:port``, as ``bootstrap.servers`` takes it."""
        return f"{HOST}:{self.kafka_port}"

    @property
    def clickhouse(self) -> str:
        """The store's URL with its credentials and database."""
        return f"http://default:{self.password}@{self.clickhouse_shown}"

    @property
    def clickhouse_shown(self) -> str:
        """The store's address as it may be shown: without the password."""
        return f"{HOST}:{self.clickhouse_port}/{DATABASE}"

    @property
    def metrics(self) -> str:
        """The projector's metrics page."""
        return f"http://{HOST}:{self.metrics_port}/metrics"

    @property
    def health(self) -> str:
        """The health consumer's metrics page."""
        return f"http://{HOST}:{self.health_port}/metrics"

    @property
    def alerts(self) -> str:
        """The alerting consumer's metrics page."""
        return f"http://{HOST}:{self.alerts_port}/metrics"

    @property
    def web(self) -> str:
        """The HTTP API and its pages."""
        return f"http://{HOST}:{self.web_port}/"

    def told(self, folder: Path) -> dict[str, str]:
        """What the READY line says, password and all."""
        told = {"kafka": self.kafka, "clickhouse": self.clickhouse, "dir": str(folder)}
        return {**told, "web": self.web} if self.web_port else told


@dataclass(frozen=True)
class Part:
    """What the supervisor has to know of one process.

    ``ready`` is asked at the start until it says yes, and then every few seconds; it is given the process id,
    returns within two seconds and does not raise. ``once`` parts do their work, exit with 0 and are done.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    ready: Callable[[int], bool]
    address: str = ""
    port: int = 0
    once: bool = False
    start_s: float = 90.0
    stop_s: float = 15.0


def broker_format_part(
    java: Java, jars: Sequence[Path], files: broker.BrokerFiles, environ: Mapping[str, str]
) -> Part:
    """Gives the broker's empty folder its cluster id."""
    return Part(
        name="broker-format",
        command=broker.format_command(java, jars, files),
        environ=_java_environ(environ),
        ready=_never,
        once=True,
    )


def broker_part(
    java: Java, jars: Sequence[Path], files: broker.BrokerFiles, at: Addresses, environ: Mapping[str, str]
) -> Part:
    """The Kafka node."""
    return Part(
        name="broker",
        command=broker.broker_command(java, jars, files),
        environ=_java_environ(environ),
        ready=lambda pid: broker.answers(at.kafka_port, timeout=1.0) and listens(pid, at.kafka_port),
        address=at.kafka,
        port=at.kafka_port,
    )


def engine_part(folder: StackFolder, at: Addresses, environ: Mapping[str, str]) -> Part:
    """The ClickHouse engine behind HTTP."""
    command = [
        sys.executable,
        "-m",
        "steptrail.deploy.engine",
        "--path",
        str(folder.clickhouse),
        "--host",
        HOST,
    ]
    command += ["--port", str(at.clickhouse_port), "--password-file", str(folder.password_file)]
    command += ["--reader-password-file", str(folder.reader_password_file), "--backups", str(folder.backups)]
    return Part(
        name="engine",
        command=[*command, "--database", DATABASE],
        environ=environ,
        ready=lambda pid: _http_ok(at.clickhouse_port, "/ping") and listens(pid, at.clickhouse_port),
        address=at.clickhouse_shown,
        port=at.clickhouse_port,
    )


def setup_part(environ: Mapping[str, str]) -> Part:
    """Migrations and topics; started with the others and waiting for them, so that its imports overlap theirs."""
    return Part(
        name="setup",
        command=[sys.executable, "-m", "steptrail.deploy.stack.setup"],
        environ=environ,
        ready=_never,
        once=True,
    )


def projector_part(at: Addresses, environ: Mapping[str, str]) -> Part:
    """The projector, exactly as `steptrail run projector` runs it.

    A name in its consumer group lets it take its own place again at once after a crash; without one the
    group would wait for the dead member until its session times out.
    """
    return Part(
        name="projector",
        command=[sys.executable, "-m", "steptrail.deploy.cli", "run", "projector"],
        environ={"STEPTRAIL_GROUP_INSTANCE_ID": "local-stack", **environ},
        ready=lambda pid: _http_ok(at.metrics_port, "/metrics") and listens(pid, at.metrics_port),
        address=at.metrics,
        port=at.metrics_port,
    )


def health_part(at: Addresses, environ: Mapping[str, str]) -> Part:
    """The health consumer, exactly as `steptrail run health` runs it; named in its group as the projector is."""
    return Part(
        name="health",
        command=[sys.executable, "-m", "steptrail.deploy.cli", "run", "health"],
        environ={
            "STEPTRAIL_GROUP_INSTANCE_ID": "local-stack",
            **environ,
            "STEPTRAIL_METRICS_PORT": str(at.health_port),
        },
        ready=lambda pid: _http_ok(at.health_port, "/metrics") and listens(pid, at.health_port),
        address=at.health,
        port=at.health_port,
    )


def web_part(at: Addresses, environ: Mapping[str, str]) -> Part:
    """The HTTP API, exactly as `steptrail run web` runs it; on loopback, whatever the environment says."""
    return Part(
        name="web",
        command=[sys.executable, "-m", "steptrail.deploy.cli", "run", "web"],
        environ={
            **{key: value for key, value in environ.items() if not key.startswith("STEPTRAIL_WEB_")},
            "STEPTRAIL_WEB_HOST": HOST,
            "STEPTRAIL_WEB_PORT": str(at.web_port),
            "STEPTRAIL_METRICS_PORT": "",
        },
        ready=lambda pid: _http_ok(at.web_port, "/healthz") and listens(pid, at.web_port),
        address=at.web,
        port=at.web_port,
    )


def alerts_part(at: Addresses, environ: Mapping[str, str], file: str) -> Part:
    """The alerting consumer, exactly as `steptrail run alerts` runs it; named in its group as the projector is."""
    return Part(
        name="alerts",
        command=[sys.executable, "-m", "steptrail.deploy.cli", "run", "alerts", "--file", file],
        environ={
            "STEPTRAIL_GROUP_INSTANCE_ID": "local-stack",
            **environ,
            "STEPTRAIL_METRICS_PORT": str(at.alerts_port),
        },
        ready=lambda pid: _http_ok(at.alerts_port, "/metrics") and listens(pid, at.alerts_port),
        address=at.alerts,
        port=at.alerts_port,
    )


def parts_environ(
    folder: StackFolder, at: Addresses, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of the parts: this process's, with the stack's own addresses in place of any others.

    Its settings of another Kafka or ClickHouse (users, passwords, certificates) are left out.
    """
    base = os.environ if base is None else base
    foreign = ("STEPTRAIL_KAFKA", "STEPTRAIL_CLICKHOUSE")
    environ = {key: value for key, value in base.items() if not key.upper().startswith(foreign)}
    environ |= {
        "STEPTRAIL_KAFKA": at.kafka,
        "STEPTRAIL_CLICKHOUSE": at.clickhouse,
        "STEPTRAIL_METRICS_PORT": str(at.metrics_port),
        "STEPTRAIL_DIR": str(folder.path),
    }
    # A local stack keeps everything by default.
    for retention in ("STEPTRAIL_RETENTION_MS", "STEPTRAIL_DLQ_RETENTION_MS"):
        environ.setdefault(retention, "-1")
    return environ


def listens(pid: int, port: int) -> bool:
    """Whether this very process listens on the port: what answers there might be somebody else's."""
    import psutil

    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)


def _never(_: int) -> bool:
    return False


def _java_environ(environ: Mapping[str, str]) -> dict[str, str]:
    # The broker needs none of our addresses and passwords; in the C locale Java cannot name non-ASCII files.
    plain = {key: value for key, value in environ.items() if not key.startswith("STEPTRAIL_")}
    return plain | {"LC_ALL": "C.UTF-8"}


def _http_ok(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
