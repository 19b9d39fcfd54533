"""How a node of the secured cluster is configured: Apache Kafka's own means, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steptrail.deploy.stack.broker import MAX_MESSAGE_BYTES
from support.cluster.certificates import Certificate

HOST = "127.0.0.1"
ADMIN = "admin"
BROKER = "broker"
"""CN of the nodes' certificates, and the user as which brokers talk to each other."""


@dataclass(frozen=True)
class Ports:
    """Where a node listens: SCRAM over TLS, mutual TLS, the controllers, and without any security."""

    scram: int
    mtls: int
    controller: int
    plain: int


def node_properties(
    node: int,
    ports: Sequence[Ports],
    *,
    data: Path,
    certificate: Certificate,
    ca: Path,
    password: str,
    odd: dict[str, tuple[int, Certificate]] | None = None,
) -> dict[str, str]:
    """The properties of node `node` (from 1) of a cluster whose nodes listen on `ports`.

    `odd` are further TLS listeners, each with a certificate of its own, by name: for clients that must refuse them.
    """
    at = ports[node - 1]
    listeners = {"SCRAM": at.scram, "MTLS": at.mtls, "PLAIN": at.plain}
    protocols = {"SCRAM": "SASL_SSL", "MTLS": "SSL", "PLAIN": "PLAINTEXT", "CONTROLLER": "SSL"}
    more: dict[str, str] = {}
    for name, (port, own) in (odd or {}).items():
        listeners[name], protocols[name] = port, "SSL"
        prefix = f"listener.name.{name.lower()}"
        more |= {f"{prefix}.ssl.keystore.location": str(own.store), f"{prefix}.ssl.client.auth": "none"}
    jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": ",".join(
            f"{number}@{HOST}:{each.controller}" for number, each in enumerate(ports, 1)
        ),
        "listeners": ",".join(
            f"{name}://{HOST}:{port}" for name, port in {**listeners, "CONTROLLER": at.controller}.items()
        ),
        "advertised.listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items()),
        "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "SCRAM",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": (
            f'{jaas} username="{BROKER}" password="{password}";'
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificate.store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca),
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        **more,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{BROKER};User:{ADMIN}",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "default.replication.factor": "3",
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
        "offsets.topic.replication.factor": "3",
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
        "transaction.state.log.num.partitions": "3",
        "share.coordinator.state.topic.replication.factor": "3",
        "share.coordinator.state.topic.min.isr": "2",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # A node that was killed is missed after so long; the default is 9 s.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "1000",
        # Kafka's default of 128 MB is half of the heap of 256 MB, and a node with TLS has died of it at its start.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }
