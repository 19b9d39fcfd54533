"""The local stack's broker: one real Apache Kafka node in KRaft mode, started straight from its jars."""

from __future__ import annotations

import os
import socket
import struct
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steptrail.deploy.private_files import write_private
from steptrail.deploy.stack.java import Java
from steptrail.deploy.stack.ports import HOST

QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
# A small heap and the quick compiler: up in two to three seconds and about 350 MB resident, and still faster
# than what reads from it. (Kafka's own scripts ask for 1 GB and G1.)
JVM_OPTIONS = ("-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", QUICK_COMPILER, "-Xshare:auto")

LOG_OPTIONS = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)

# The dead-letter topic takes 2 MiB; each topic states its own smaller limit.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024 + 64 * 1024


@dataclass(frozen=True)
class BrokerFiles:
    """Where a broker keeps its configuration and its data, below ``folder``."""

    folder: Path

    @property
    def config(self) -> Path:
        """Written anew at each start."""
        return self.folder / "server.properties"

    @property
    def data(self) -> Path:
        """The log directory."""
        return self.folder / "data"

    @property
    def formatted(self) -> bool:
        """Whether the data directory belongs to a cluster already."""
        return (self.data / "meta.properties").exists()


def server_properties(data: Path, *, port: int, controller_port: int) -> dict[str, str]:
    """Return the node's configuration: loopback only, replication of one, no topics by accident.

    Retention is stated by each topic; what states none is kept without end.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "log.retention.ms": "-1",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        # One node gains nothing from the default of 50, and each partition costs files.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # A group's first member need not wait for company.
        "group.initial.rebalance.delay.ms": "0",
        # After a crash the node's own controller waits this long before it lets the node in again.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }


def write_config(files: BrokerFiles, *, port: int, controller_port: int) -> None:
    """Write ``server.properties`` of the local stack's node."""
    write_properties(files, server_properties(files.data, port=port, controller_port=controller_port))


def write_properties(files: BrokerFiles, properties: Mapping[str, str]) -> None:
    """Write ``server.properties``, readable by this user only."""
    files.data.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{key}={_escaped(value)}\n" for key, value in properties.items())
    write_private(files.config, text)


def new_cluster_id() -> str:
    """A random cluster id, as Kafka spells them."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def format_command(
    java: Java, jars: Sequence[Path], files: BrokerFiles, cluster: str | None = None
) -> list[str]:
    """The command that gives an empty data directory its cluster id; about one second, once."""
    cluster = cluster or new_cluster_id()
    # As one word: one id in 64 begins with a hyphen, and would be taken for another option.
    arguments = ["format", "--config", str(files.config), f"--cluster-id={cluster}", "--ignore-formatted"]
    return [*_java(java, jars), "kafka.tools.StorageTool", *arguments]


def broker_command(java: Java, jars: Sequence[Path], files: BrokerFiles) -> list[str]:
    """The command that runs the node in the foreground until SIGTERM."""
    return [*_java(java, jars), "kafka.Kafka", str(files.config)]


def answers(port: int, *, timeout: float = 2.0) -> bool:
    """Whether a Kafka broker answers on the port: a real ApiVersions request, which needs no client library."""
    body = struct.pack(">hhi", 18, 0, 1) + struct.pack(">h", 9) + b"steptrail"
    try:
        with socket.create_connection((HOST, port), timeout=timeout) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            head = b""
            while len(head) < 10:
                if not (chunk := connection.recv(10 - len(head))):
                    return False
                head += chunk
    except OSError:
        return False
    _, correlation, error = struct.unpack(">iih", head)
    return bool(correlation == 1 and error == 0)


def _java(java: Java, jars: Sequence[Path]) -> list[str]:
    return [str(java.executable), *JVM_OPTIONS, *LOG_OPTIONS, "-cp", os.pathsep.join(map(str, jars))]


def _escaped(value: str) -> str:
    # Java reads properties files as Latin-1 with UTF-16 escapes; a backslash is the one character of a path
    # that means something in a value.
    escaped = []
    for unit in struct.unpack(f">{len(value.encode('utf-16-be')) // 2}H", value.encode("utf-16-be")):
        plain = 0x20 <= unit < 0x7F and unit != ord("\\")
        escaped.append(chr(unit) if plain else f"\\u{unit:04x}")
    return "".join(escaped)
