"""One POST to where the configuration says, and nowhere else, within a bounded time."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from steptrail.consumers.alerts.delivery.target import Target
from steptrail.schemas.redact import redact_values

_MOST_READ = 64 * 1024
_SHOWN = 200
MOST_RETRY_AFTER_S = 3600.0
"""A target that asks for a longer pause is asked again after this."""

_TRANSIENT = frozenset((408, 425, 429))


@dataclass(frozen=True)
class Answer:
    """What came of a request. `status` None: no answer; `said`: in words, without secrets.

    `hopeless`: the same request would be refused again. `retry_after`: seconds that the target asked for.
    """

    status: int | None
    said: str
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the target took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def hopeless(self) -> bool:
        """Whether to try again soon is of no use: a redirect, or a refusal other than for want of time."""
        return self.status is not None and 300 <= self.status < 500 and self.status not in _TRANSIENT


def post(target: Target, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send it, on a connection of its own, in `target.timeout` seconds at most; never raises for what may go wrong.

    A redirect is an answer like any other and is not followed; no proxy is asked.
    """
    secrets = target.secrets()
    started = time.monotonic()
    try:
        connection = _connection(target)
        with contextlib.closing(connection), _cut_off(connection, target.timeout) as cut:
            try:
                connection.request("POST", path, body, {**headers, "Content-Length": str(len(body))})
                response = connection.getresponse()
                text = response.read(_MOST_READ)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if cut.is_set() or isinstance(error, TimeoutError):
                    raise TimeoutError(f"no answer within {target.timeout:g} s") from None
                raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        seconds = time.monotonic() - started
        what = str(error) or type(error).__name__
        return Answer(None, redact_values(f"{target.shown}: {what} ({seconds:.1f} s)", secrets))
    said = f"{target.shown} answered {response.status} {response.reason}".rstrip()
    if 300 <= response.status < 400:
        said += "; redirects are refused: configure the address that it leads to, if it is right"
    elif not 200 <= response.status < 300 and text:
        said += f": {text.decode('utf-8', 'replace').strip()[:_SHOWN]!r}"
    return Answer(response.status, redact_values(said, secrets), _retry_after(response))


def path_of(url: str) -> str:
    """Path and query of a URL, as a request names them."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _connection(target: Target) -> http.client.HTTPConnection:
    parts = urlsplit(target.url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=target.ca)
        return http.client.HTTPSConnection(host, target.port, timeout=target.timeout, context=context)
    return http.client.HTTPConnection(host, target.port, timeout=target.timeout)


@contextlib.contextmanager
def _cut_off(connection: http.client.HTTPConnection, seconds: float) -> Iterator[threading.Event]:
    """Break the connection after so long: each read has a time-out, but a server may send a byte now and then."""
    cut = threading.Event()

    def cut_now() -> None:
        cut.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut_now)
    timer.daemon = True
    timer.start()
    try:
        yield cut
    finally:
        timer.cancel()


def _retry_after(response: http.client.HTTPResponse) -> float | None:
    """The pause that the answer asks for: seconds, or a date."""
    text = (response.getheader("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MOST_RETRY_AFTER_S)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except (TypeError, ValueError, OverflowError):
        return None
    return None if moment is None else min(max(0.0, moment - time.time()), MOST_RETRY_AFTER_S)
