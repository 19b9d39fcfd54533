"""Why Kafka cannot be reached with these settings: asked of the brokers step by step, in the order of a connection.

librdkafka says the same of a wrong authority, an expired certificate and a wrong host name, and nothing at all where a
plain client meets a TLS port. So when it has failed, this connects once more by the standard library, and says at
which step it ends and what to do. It is for whoever shows an error: it takes up to a few seconds.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from steptrail.schemas.access.denials import principal
from steptrail.schemas.redact import redact_message

TIMEOUT_S: Final = 3.0
_API_VERSIONS, _METADATA, _SASL_HANDSHAKE = 18, 3, 17
_UNSUPPORTED_MECHANISM, _ILLEGAL_STATE = 33, 34
_EXPIRED, _NOT_YET, _WRONG_HOST, _WRONG_ADDRESS = 10, 9, 62, 64
_SETTING: Final = "STEPTRAIL_KAFKA_"


@dataclass(frozen=True)
class ConnectionFault:
    """What is wrong with the connection, and what to do about it. `away`: no broker was reached at all."""

    what: str
    remedy: str
    away: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


class _Found(Exception):
    def __init__(self, what: str, remedy: str, *, away: bool = False) -> None:
        super().__init__(what)
        self.fault = ConnectionFault(what, remedy, away)


def connection_fault(config: Mapping[str, Any], *, timeout: float = TIMEOUT_S) -> ConnectionFault | None:
    """What keeps a client with these librdkafka properties from Kafka; None where nothing was found.

    Never raises. `timeout` is in seconds, for each of the few steps.
    """
    said: list[KafkaError] = []
    try:
        asking: dict[str, Any] = {**config, "error_cb": said.append, "log_level": 0}
        client = AdminClient(asking)
    except (KafkaException, ValueError, TypeError) as error:
        return settings_fault(error, config)
    fault: ConnectionFault | None = None
    for address in str(config.get("bootstrap.servers", "")).split(","):
        try:
            _Check(config, address.strip(), timeout).run()
            break
        except _Found as found:
            if not found.fault.away:
                return found.fault
            fault = fault or found.fault
    else:
        return fault
    try:
        client.list_topics(timeout=timeout)
    except KafkaException:
        client.poll(0)
    refused = next((error for error in said if error.code() == KafkaError._AUTHENTICATION), None)
    return None if refused is None else _refused(refused, config)


class _Check:
    """One connection to one broker."""

    def __init__(self, config: Mapping[str, Any], address: str, timeout: float) -> None:
        host, _, port = address.rpartition("://")[2].rpartition(":")
        self._host, self._port = (host.strip("[]"), port) if host else (port, "9092")
        self._at = f"{self._host}:{self._port}"
        self._config = config
        self._timeout = timeout
        protocol = str(config.get("security.protocol", "plaintext")).lower()
        self._tls, self._sasl = protocol.endswith("ssl"), protocol.startswith("sasl")

    def run(self) -> None:
        """Raises _Found at the first step that fails."""
        try:
            connection: socket.socket = socket.create_connection((self._host, int(self._port)), self._timeout)
        except socket.gaierror as error:
            remedy = f"correct STEPTRAIL_KAFKA, or the name service ({error.strerror})"
            raise _Found(f"the host {self._host} has no address", remedy, away=True) from None
        except OSError as error:
            what = f"nothing answers at {self._at} ({error.strerror or error})"
            remedy = "start Kafka there, correct STEPTRAIL_KAFKA, or open the way to it"
            raise _Found(what, remedy, away=True) from None
        with connection:
            connection.settimeout(self._timeout)
            if self._tls:
                with self._encrypted(connection) as encrypted:
                    self._talk(encrypted)
            else:
                self._talk(connection)

    def _encrypted(self, connection: socket.socket) -> ssl.SSLSocket:
        config = self._config
        verified = str(config.get("enable.ssl.certificate.verification", "true")).lower() == "true"
        named = str(config.get("ssl.endpoint.identification.algorithm", "https")).lower() != "none"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = named and verified
        context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
        try:
            if authority := config.get("ssl.ca.location"):
                context.load_verify_locations(authority)
            else:
                context.load_default_certs()
            if certificate := config.get("ssl.certificate.location"):
                context.load_cert_chain(
                    certificate,
                    config.get("ssl.key.location"),
                    lambda: str(config.get("ssl.key.password", "")),
                )
        except OSError:  # the client says it itself: see `settings_fault`
            pass
        try:
            return context.wrap_socket(connection, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            raise self._untrusted(error) from None
        except (ssl.SSLError, OSError) as error:
            if isinstance(error, ssl.SSLError) and "alert" in str(error).lower():
                raise self._client_refused(error) from None
            raise _Found(
                f"{self._at} does not speak TLS",
                f"{_SETTING}SECURITY_PROTOCOL is for a TLS listener, and this is a plain one: name the TLS listener in "
                "STEPTRAIL_KAFKA, or set the protocol to plaintext or sasl_plaintext",
            ) from None

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> _Found:
        code = error.verify_code
        if code in (_EXPIRED, _NOT_YET):
            when = "has expired" if code == _EXPIRED else "is not valid yet"
            return _Found(
                f"the certificate of the broker at {self._at} {when}",
                "renew it, or correct the clock of this machine",
            )
        if code in (_WRONG_HOST, _WRONG_ADDRESS):
            return _Found(
                f"the certificate of the broker at {self._at} is for other hosts than {self._host}",
                "name the broker in STEPTRAIL_KAFKA as its certificate does, or give it a certificate for this name",
            )
        authority = self._config.get("ssl.ca.location")
        trusted = f"the authorities in {authority}" if authority else "the authorities of this system"
        return _Found(
            f"the certificate of the broker at {self._at} is not signed by {trusted}",
            f"name the file with its authority's certificate in {_SETTING}SSL_CA_LOCATION",
        )

    def _client_refused(self, error: Exception) -> _Found:
        certificate = self._config.get("ssl.certificate.location")
        if not certificate:
            return _Found(
                f"the broker at {self._at} asks for a certificate of the client",
                f"name one in {_SETTING}SSL_CERTIFICATE_LOCATION, or another listener in STEPTRAIL_KAFKA",
            )
        return _Found(
            f"the broker at {self._at} refuses the client's certificate {certificate}",
            "it has expired, or is not signed by an authority that the broker trusts: renew it",
        )

    def _talk(self, connection: socket.socket) -> None:
        try:
            answer = _ask(connection, _API_VERSIONS, 0, b"")
            if answer is None:
                raise self._no_kafka()
            if self._sasl:
                self._offer(connection)
            # A listener that asks for SASL answers nothing else first.
            elif _ask(connection, _METADATA, 1, struct.pack(">i", 0)) is None:
                raise _Found(
                    f"the broker at {self._at} asks for SASL",
                    f"set {_SETTING}SECURITY_PROTOCOL to {'sasl_ssl' if self._tls else 'sasl_plaintext'}, and "
                    f"{_SETTING}SASL_MECHANISM, {_SETTING}SASL_USERNAME and {_SETTING}SASL_PASSWORD",
                )
        except ssl.SSLError as error:
            raise self._client_refused(error) from None
        except OSError:
            raise self._no_kafka() from None

    def _no_kafka(self) -> _Found:
        if self._tls:
            return _Found(f"{self._at} speaks TLS, but not Kafka's protocol", "correct STEPTRAIL_KAFKA")
        return _Found(
            f"{self._at} does not answer a plain client",
            f"if it is a TLS listener, set {_SETTING}SECURITY_PROTOCOL to ssl or sasl_ssl; if it is no Kafka, correct "
            "STEPTRAIL_KAFKA",
        )

    def _offer(self, connection: socket.socket) -> None:
        mechanism = str(
            self._config.get("sasl.mechanism", self._config.get("sasl.mechanisms", "GSSAPI"))
        ).upper()
        answer = _ask(connection, _SASL_HANDSHAKE, 1, _text(mechanism))
        if answer is None:
            raise self._no_kafka()
        (code,) = struct.unpack(">h", answer[:2])
        if code == _UNSUPPORTED_MECHANISM:
            offered = ", ".join(_texts(answer[2:]))
            raise _Found(
                f"the broker at {self._at} does not take the SASL mechanism {mechanism}",
                f"set {_SETTING}SASL_MECHANISM to one that it takes: {offered}",
            )
        if code == _ILLEGAL_STATE:
            raise _Found(
                f"the listener at {self._at} takes no SASL",
                f"set {_SETTING}SECURITY_PROTOCOL to {'ssl' if self._tls else 'plaintext'}, or name another "
                "listener in STEPTRAIL_KAFKA",
            )


def _refused(refused: KafkaError, config: Mapping[str, Any]) -> ConnectionFault:
    if "credentials" in refused.str():
        return ConnectionFault(
            f"Kafka does not know {principal(config)} by this password",
            f"correct {_SETTING}SASL_USERNAME and {_SETTING}SASL_PASSWORD, or have the user made for the mechanism "
            f"{config.get('sasl.mechanism', config.get('sasl.mechanisms'))}",
        )
    why = redact_message(refused.str(), config)
    return ConnectionFault(f"Kafka refuses {principal(config)}", why)


def settings_fault(error: BaseException, config: Mapping[str, Any]) -> ConnectionFault:
    """What is wrong where librdkafka refuses its own settings: most often a file of certificates or keys."""
    text = redact_message(str(error.args[0].str() if isinstance(error, KafkaException) else error), config)
    for name, what in _FILES.items():
        if f"{name} failed" in text:
            file, variable = config.get(name), _SETTING + name.replace(".", "_").upper()
            if "mismatch" in text:
                belongs = config.get("ssl.certificate.location")
                remedy = f"it is not the key of {belongs}: name the two that belong together"
            elif name == "ssl.key.location":
                remedy = f"is it a PEM file of a key, and is {_SETTING}SSL_KEY_PASSWORD its password?"
            else:
                remedy = "does it exist, may this user read it, and is it a PEM file?"
            return ConnectionFault(f"{variable}: {what} {file} cannot be used", remedy)
    return ConnectionFault("Kafka's client refuses its settings", text)


_FILES: Final = {
    "ssl.ca.location": "the authorities' certificates",
    "ssl.certificate.location": "the client's certificate",
    "ssl.key.location": "the client's key",
}


def _ask(connection: socket.socket, key: int, version: int, body: bytes) -> bytes | None:
    """The body of the answer to a request in Kafka's protocol; None when the broker closed the connection."""
    request = struct.pack(">hhi", key, version, 1) + _text("steptrail") + body
    try:
        connection.sendall(struct.pack(">i", len(request)) + request)
        head = _read(connection, 8)
        length, correlation = struct.unpack(">ii", head)
        if correlation != 1 or not 4 <= length < 1 << 24:
            return None
        return _read(connection, length - 4)
    except (EOFError, ConnectionError):
        return None


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def _text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def _texts(data: bytes) -> list[str]:
    (count,) = struct.unpack(">i", data[:4])
    found, at = [], 4
    for _ in range(count):
        (length,) = struct.unpack(">h", data[at : at + 2])
        found.append(data[at + 2 : at + 2 + length].decode("utf-8", "replace"))
        at += 2 + length
    return found
