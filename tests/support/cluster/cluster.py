"""Three Kafka nodes on loopback: KRaft, TLS, SCRAM, mutual TLS and access control, from the local stack's jars."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs leave some out
    AclBinding,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from faults.world import free_ports
from steptrail.deploy.stack.broker import (
    QUICK_COMPILER,
    BrokerFiles,
    broker_command,
    format_command,
    new_cluster_id,
    write_properties,
)
from steptrail.deploy.stack.child import Child, Watchdog
from steptrail.deploy.stack.jars import ensure_jars
from steptrail.deploy.stack.java import find_java
from steptrail.schemas.configuration.settings import Settings
from support.cluster.certificates import LOOPBACK, Authority
from support.cluster.node_properties import ADMIN, BROKER, HOST, Ports, node_properties
from support.waiting import until

SIZE = 3
MECHANISM = "SCRAM-SHA-512"
_QUIET = {"log_level": 0, "socket.timeout.ms": 10_000}


class Node:
    """One broker and controller; killed, stopped and started again on the same ports."""

    def __init__(self, cluster: KafkaCluster, number: int) -> None:
        self.number = number
        self._cluster = cluster
        self.folder = cluster.folder / f"node-{number}"
        self.folder.mkdir()
        self.files = BrokerFiles(self.folder)
        self.log = self.folder / "log"
        self._child: Child | None = None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.poll() is None

    def begin_format(self) -> Child:
        """Start to give the empty data directory its cluster id and the brokers' own user."""
        cluster = self._cluster
        scram = f'{MECHANISM}=[name="{{}}",password="{cluster.password}"]'
        more = [part for name in (BROKER, ADMIN) for part in ("--add-scram", scram.format(name))]
        command = format_command(cluster.java, cluster.jars, self.files, cluster.cluster_id)
        return self._spawn([*command, *more])

    def begin(self) -> None:
        """Start it, without waiting."""
        command = broker_command(self._cluster.java, self._cluster.jars, self.files)
        if self._cluster.full_compiler:
            command = [word for word in command if word != QUICK_COMPILER]
        self._child = self._spawn(command)

    def start(self) -> None:
        """Start it and wait until the cluster has it back, with every replica in sync."""
        self.begin()
        self._cluster.wait_whole()

    def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        """SIGTERM, and wait for the end: leadership is handed over first."""
        child = self._child
        if child is not None:
            child.terminate()
            until(lambda: child.poll() is not None, f"end of node {self.number}")

    def wipe(self) -> None:
        """Lose the disk of a node that does not run; what it held comes back from the others."""
        shutil.rmtree(self.files.data)
        self.files.data.mkdir()
        _finish(self.begin_format(), self)

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def _spawn(self, command: Sequence[str]) -> Child:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("STEPTRAIL_")}
        return Child(
            command,
            log=self.log,
            environ=environ | {"LC_ALL": "C.UTF-8"},
            watchdog=self._cluster.watchdog,
        )


class KafkaCluster:
    """Three nodes, and the superuser's means. Use it as `with kafka_cluster() as cluster`."""

    def __init__(self, folder: Path, *, full_compiler: bool = False) -> None:
        self.folder = folder
        self.full_compiler = full_compiler
        self.java, self.jars = find_java(), ensure_jars()
        self.watchdog = Watchdog()
        self.cluster_id = new_cluster_id()
        self.password = secrets.token_hex(12)
        self.authority = Authority(folder / "certificates")
        numbers = free_ports(4 * SIZE + 2)
        self.ports = [Ports(*numbers[4 * n : 4 * n + 4]) for n in range(SIZE)]
        self.expired_port, self.elsewhere_port = numbers[-2:]
        self.nodes = [Node(self, number) for number in range(1, SIZE + 1)]
        for node in self.nodes:
            self.write_certificate(node)
            odd = {}
            if node.number == 1:
                expired = self.authority.issue("broker", hosts=LOOPBACK, expired=True, file="expired")
                elsewhere = self.authority.issue("broker", hosts=["kafka.example.com"], file="elsewhere")
                odd = {
                    "EXPIRED": (self.expired_port, expired),
                    "ELSEWHERE": (self.elsewhere_port, elsewhere),
                }
            properties = node_properties(
                node.number,
                self.ports,
                data=node.files.data,
                certificate=self.write_certificate(node),
                ca=self.authority.ca,
                password=self.password,
                odd=odd,
            )
            write_properties(node.files, properties)

    # --- nodes

    def start(self) -> None:
        """Format and start every node, and wait for all of them."""
        formatting = [(node, node.begin_format()) for node in self.nodes]
        for node, child in formatting:
            _finish(child, node)
        for node in self.nodes:
            node.begin()
        self.wait_whole()

    def close(self) -> None:
        """Kill what runs."""
        for node in self.nodes:
            node.kill()
        self.watchdog.close()

    def heal(self) -> None:
        """Have every node running and in sync, whatever was done to them."""
        for node in self.nodes:
            if not node.running:
                node.begin()
        self.wait_whole()

    def wait_whole(self) -> None:
        """Wait until every node is in the cluster and every replica in sync."""

        until(lambda: all(self._sees_all(node) for node in self.nodes), "whole cluster", pause=0.2)

    def _sees_all(self, node: Node) -> bool:
        # Each is asked itself: others may not have missed yet one that was killed and is on its way back.
        if not node.running:
            raise RuntimeError(f"node {node.number} does not run: {node.said()}")
        at = f"{HOST}:{self.ports[node.number - 1].scram}"
        try:
            found = self.new_admin(**{"bootstrap.servers": at}).list_topics(timeout=5)
        except KafkaException:
            return False
        return len(found.brokers) == SIZE and all(
            len(partition.isrs) == len(partition.replicas) and partition.leader >= 0
            for topic in found.topics.values()
            for partition in topic.partitions.values()
        )

    def leader(self, topic: str, partition: int = 0) -> Node:
        """The node that leads the partition now."""
        found = self.new_admin().list_topics(topic, timeout=30).topics[topic]
        return self.nodes[found.partitions[partition].leader - 1]

    def write_certificate(self, node: Node) -> Any:
        """A new certificate for the node, in the place of its old one; used from its next start on."""
        return self.authority.issue(BROKER, hosts=LOOPBACK, file=f"node-{node.number}")

    def reload_certificates(self, nodes: Iterable[Node] | None = None) -> None:
        """Have running brokers read their certificates again, one listener after the other, as an operator does."""
        for node in nodes or self.nodes:
            store = str(self.folder / "certificates" / f"node-{node.number}.pem")
            entries = [
                ConfigEntry(
                    f"listener.name.{listener}.ssl.keystore.location",
                    store,
                    incremental_operation=AlterConfigOpType.SET,
                )
                for listener in ("scram", "mtls")
            ]
            resource = ConfigResource(ResourceType.BROKER, str(node.number), incremental_configs=entries)
            admin = self.new_admin()
            for future in admin.incremental_alter_configs([resource]).values():
                future.result(30)

    # --- addresses and principals

    def addresses(self, listener: str = "scram") -> str:
        """Bootstrap servers of a listener: scram, mtls or plain."""
        return ",".join(f"{HOST}:{getattr(each, listener)}" for each in self.ports)

    def settings(self, user: str = ADMIN, password: str | None = None, **values: Any) -> Settings:
        """Settings of a user over SASL_SSL with SCRAM-SHA-512."""
        return Settings(
            **{
                "kafka": self.addresses(),
                "kafka_security_protocol": "sasl_ssl",
                "kafka_sasl_mechanism": MECHANISM,
                "kafka_sasl_username": user,
                "kafka_sasl_password": self.password if password is None else password,
                "kafka_ssl_ca_location": str(self.authority.ca),
                **values,
            }
        )

    def tls_settings(self, name: str = ADMIN, **values: Any) -> Settings:
        """Settings of a client that is known by its certificate, whose CN is `name`; its key has a password."""
        issued = self.authority.issue(name, password="key-secret", file=f"client-{name}")
        return Settings(
            **{
                "kafka": self.addresses("mtls"),
                "kafka_security_protocol": "ssl",
                "kafka_ssl_ca_location": str(self.authority.ca),
                "kafka_ssl_certificate_location": str(issued.certificate),
                "kafka_ssl_key_location": str(issued.key),
                "kafka_ssl_key_password": "key-secret",
                **values,
            }
        )

    def new_admin(self, **more: str) -> AdminClient:
        """A client of the superuser, made anew: what it asks may have been another process a moment ago."""
        return AdminClient({**self.settings().kafka_config(), **_QUIET, **more})

    def add_user(self, name: str, password: str | None = None) -> None:
        """Give a user a password, by default the superuser's, or another than it had."""
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        secret = (password or self.password).encode()
        alteration = UserScramCredentialUpsertion(name, credential, secret)
        admin = self.new_admin()
        for future in admin.alter_user_scram_credentials([alteration]).values():
            future.result(30)
        until(lambda: self._knows(name, password), f"user {name} on every node")

    def allow(self, bindings: Sequence[AclBinding]) -> None:
        """Create ACLs."""
        admin = self.new_admin()  # kept: with it would go the answers that it owes
        for future in admin.create_acls(list(bindings)).values():
            future.result(30)

    def _knows(self, name: str, password: str | None) -> bool:
        settings = self.settings(name, password)
        for at in self.ports:
            config = {**settings.kafka_config(), **_QUIET, "bootstrap.servers": f"{HOST}:{at.scram}"}
            try:
                AdminClient(config).list_topics(timeout=5)
            except KafkaException:
                return False
        return True


def _finish(child: Child, node: Node) -> None:
    until(lambda: child.poll() is not None, "end of formatting")
    if child.poll():
        raise RuntimeError(f"node {node.number} could not be formatted: {node.said()}")


@contextmanager
def kafka_cluster(*, full_compiler: bool = False) -> Iterator[KafkaCluster]:
    """The cluster, started; gone afterwards. About 1.2 GB and 15 s.

    With `full_compiler` the brokers run as they do in production: the quick compiler, with which they start sooner,
    has no AES instructions and encrypts at some 14 MB/s in place of 400.
    """
    folder = Path(tempfile.mkdtemp(prefix="steptrail-cluster-"))
    cluster = None
    try:
        cluster = KafkaCluster(folder, full_compiler=full_compiler)
        cluster.start()
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
