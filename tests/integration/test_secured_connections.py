"""Wrong certificates, passwords and ports, on real brokers: a clear sentence each, with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steptrail.schemas.access.connection_check import connection_fault
from steptrail.schemas.configuration.settings import Settings
from support.cluster.certificates import Authority
from support.cluster.cluster import KafkaCluster
from support.cluster.secured import cli
from support.effort import ONLY_IN_TEST_ALL

pytestmark = ONLY_IN_TEST_ALL

PASSWORD = "tr0ub4dor"

Make = Callable[[KafkaCluster, Path], Settings]


def _other_authority(cluster: KafkaCluster, folder: Path) -> Settings:
    return cluster.settings(kafka_ssl_ca_location=str(Authority(folder, "other-ca").ca))


def _with_certificate(cluster: KafkaCluster, issued: Any) -> Settings:
    return cluster.tls_settings(
        kafka_ssl_certificate_location=str(issued.certificate),
        kafka_ssl_key_location=str(issued.key),
        kafka_ssl_key_password=None,
    )


FAULTS: dict[str, tuple[Make, str, str]] = {
    "wrong authority": (_other_authority, "is not signed by the authorities in", "SSL_CA_LOCATION"),
    "no authority named": (
        lambda cluster, _: cluster.settings(kafka_ssl_ca_location=None),
        "is not signed by the authorities of this system",
        "SSL_CA_LOCATION",
    ),
    "expired certificate of the broker": (
        lambda cluster, _: cluster.tls_settings(kafka=f"127.0.0.1:{cluster.expired_port}"),
        "the certificate of the broker at 127.0.0.1:{expired} has expired",
        "renew it",
    ),
    "wrong host name": (
        lambda cluster, _: cluster.tls_settings(kafka=f"127.0.0.1:{cluster.elsewhere_port}"),
        "is for other hosts than 127.0.0.1",
        "name the broker in STEPTRAIL_KAFKA as its certificate does",
    ),
    "expired certificate of the client": (
        lambda cluster, folder: _with_certificate(
            cluster, cluster.authority.issue("client", expired=True, file="expired-client")
        ),
        "refuses the client's certificate",
        "it has expired, or is not signed by an authority",
    ),
    "certificate of the client by another authority": (
        lambda cluster, folder: _with_certificate(cluster, Authority(folder, "other-ca").issue("client")),
        "refuses the client's certificate",
        "renew it",
    ),
    "no certificate of the client": (
        lambda cluster, _: cluster.tls_settings(
            kafka_ssl_certificate_location=None, kafka_ssl_key_location=None, kafka_ssl_key_password=None
        ),
        "asks for a certificate of the client",
        "SSL_CERTIFICATE_LOCATION",
    ),
    "wrong password": (
        lambda cluster, _: cluster.settings(password=PASSWORD),
        "Kafka does not know User:admin by this password",
        "SASL_PASSWORD",
    ),
    "unknown user": (
        lambda cluster, _: cluster.settings("nobody", PASSWORD),
        "Kafka does not know User:nobody by this password",
        "SASL_USERNAME",
    ),
    "a mechanism that is not offered": (
        lambda cluster, _: cluster.settings(kafka_sasl_mechanism="PLAIN"),
        "does not take the SASL mechanism PLAIN",
        "SCRAM-SHA-512",
    ),
    "a plain client at a TLS port": (
        lambda cluster, _: cluster.settings(kafka_security_protocol="plaintext"),
        "does not answer a plain client",
        "set STEPTRAIL_KAFKA_SECURITY_PROTOCOL to ssl or sasl_ssl",
    ),
    "SASL without TLS at a TLS port": (
        lambda cluster, _: cluster.settings(kafka_security_protocol="sasl_plaintext"),
        "does not answer a plain client",
        "set STEPTRAIL_KAFKA_SECURITY_PROTOCOL to ssl or sasl_ssl",
    ),
    "a TLS client at a plain port": (
        lambda cluster, _: cluster.settings(kafka=cluster.addresses("plain")),
        "does not speak TLS",
        "set the protocol to plaintext or sasl_plaintext",
    ),
    "TLS without SASL where SASL is asked for": (
        lambda cluster, _: cluster.settings(kafka_security_protocol="ssl"),
        "asks for SASL",
        "set STEPTRAIL_KAFKA_SECURITY_PROTOCOL to sasl_ssl",
    ),
    "SASL where none is taken": (
        lambda cluster, _: cluster.tls_settings(
            kafka_security_protocol="sasl_ssl",
            kafka_sasl_mechanism="SCRAM-SHA-512",
            kafka_sasl_username="admin",
            kafka_sasl_password=PASSWORD,
        ),
        "takes no SASL",
        "set STEPTRAIL_KAFKA_SECURITY_PROTOCOL to ssl",
    ),
    "nobody there": (
        lambda cluster, _: cluster.settings(kafka="127.0.0.1:1"),
        "nothing answers at 127.0.0.1:1 (Connection refused)",
        "correct STEPTRAIL_KAFKA",
    ),
    "a host that does not exist": (
        lambda cluster, _: cluster.settings(kafka="kafka.invalid:9092"),
        "the host kafka.invalid has no address",
        "correct STEPTRAIL_KAFKA",
    ),
    "a wrong password of the key": (
        lambda cluster, _: cluster.tls_settings(kafka_ssl_key_password=PASSWORD),
        "STEPTRAIL_KAFKA_SSL_KEY_LOCATION: the client's key",
        "is STEPTRAIL_KAFKA_SSL_KEY_PASSWORD its password?",
    ),
    "a key of another certificate": (
        lambda cluster, folder: cluster.tls_settings(
            kafka_ssl_key_location=str(Authority(folder, "other-ca").issue("client").key),
            kafka_ssl_key_password=None,
        ),
        "STEPTRAIL_KAFKA_SSL_KEY_LOCATION",
        "name the two that belong together",
    ),
    "a file that is not there": (
        lambda cluster, _: cluster.settings(kafka_ssl_ca_location="/nonexistent/ca.pem"),
        "STEPTRAIL_KAFKA_SSL_CA_LOCATION: the authorities' certificates /nonexistent/ca.pem cannot be used",
        "does it exist",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_connection_that_cannot_be_is_explained(cluster: KafkaCluster, tmp_path: Path, fault: str) -> None:
    """What is wrong, where, and what to do, in one sentence without a secret."""
    make, what, remedy = FAULTS[fault]
    found = connection_fault(make(cluster, tmp_path).kafka_config())
    assert found is not None
    assert what.format(expired=cluster.expired_port) in found.what
    assert remedy in found.remedy
    assert PASSWORD not in str(found)
    assert cluster.password not in str(found)


@pytest.mark.parametrize("variant", ["scram", "mtls"])
def test_a_connection_that_works_has_no_fault(cluster: KafkaCluster, variant: str) -> None:
    """Neither SCRAM over TLS nor mutual TLS is complained about."""
    settings = cluster.settings() if variant == "scram" else cluster.tls_settings()
    assert connection_fault(settings.kafka_config()) is None


def test_commands_explain_the_connection(cluster: KafkaCluster) -> None:
    """`steptrail topics` and `steptrail alerts list` end with the sentence and exit 2 or 3, as JSON too."""
    wrong = cluster.settings(password=PASSWORD, topic_prefix="nowhere")
    for argv in (("topics", "--json"), ("alerts", "silences", "--json")):
        code, _, err = cli(wrong, *argv)
        said = json.loads(err.splitlines()[-1])
        assert code in (2, 3), err
        assert "Kafka does not know User:admin by this password" in said["message"] + said.get("hint", ""), (
            argv
        )
        assert PASSWORD not in err
