"""A certificate authority for tests: certificates of brokers and clients as PEM files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Certificate:
    """PEM files: the certificate, its key, and both in one `store`, as Kafka's brokers want them."""

    certificate: Path
    key: Path
    store: Path


class Authority:
    """Signs certificates; `ca` is the file by which these are trusted."""

    def __init__(self, folder: Path, name: str = "steptrail-test-ca") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        built = _builder(self._name, self._name, self._key.public_key(), _now() - _DAY, _now() + 30 * _DAY)
        signed = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = signed.sign(self._key, hashes.SHA256())
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(_pem(self.certificate))

    def issue(
        self,
        name: str,
        *,
        hosts: Sequence[str] = (),
        expired: bool = False,
        password: str | None = None,
        file: str | None = None,
    ) -> Certificate:
        """A certificate with `name` as its CN, valid for `hosts`; `password` encrypts the key's file.

        With the name of a `file` that exists, its certificate is replaced.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        until = _now() - timedelta(hours=1) if expired else _now() + 7 * _DAY
        built = _builder(_named(name), self._name, key.public_key(), _now() - _DAY, until)
        if hosts:
            built = built.add_extension(
                x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False
            )
        signed = _pem(built.sign(self._key, hashes.SHA256()))
        encryption = (
            serialization.BestAvailableEncryption(password.encode())
            if password is not None
            else serialization.NoEncryption()
        )
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        stem = file or name
        issued = Certificate(*(self._folder / f"{stem}.{ending}" for ending in ("crt", "key", "pem")))
        for path, content in (
            (issued.certificate, signed),
            (issued.key, private),
            (issued.store, private + signed + _pem(self.certificate)),
        ):
            path.write_bytes(content)
            path.chmod(0o600)
        return issued


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    since: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _now() -> datetime:
    return datetime.now(timezone.utc)
