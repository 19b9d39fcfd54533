"""Sends one POST to the configured address, and nowhere else, within a bounded time."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from steptrail.consumers.alerts.delivery.dialing import Resolve, addresses_of, dialed
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.schemas.redact import redact_values

_MOST_READ = 64 * 1024
_SHOWN = 200
MOST_RETRY_AFTER_S = 3600.0
"""A target that asks for a longer pause is asked again after this."""

_TRANSIENT = frozenset((408, 425, 429))
_MAYBE_TOO_LARGE = frozenset((400, 413, 422))


@dataclass(frozen=True)
class Answer:
    """The result of a request. `status` None: no answer; `said`: a description without secrets.

    `hopeless`: the same request would be refused again. `retry_after`: the seconds that the target requested.
    """

    status: int | None
    said: str
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the target accepted it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def hopeless(self) -> bool:
        """Whether a retry soon is useless: a redirect, or a client error other than a timeout or rate limit."""
        return self.status is not None and 300 <= self.status < 500 and self.status not in _TRANSIENT

    @property
    def too_large(self) -> bool:
        """Whether a shorter request might be accepted. Few answer 413: Slack, Discord and others answer 400."""
        return self.status in _MAYBE_TOO_LARGE


def post(
    target: Target,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    clock: Callable[[], float] = time.monotonic,
    resolve: Resolve = addresses_of,
) -> Answer:
    """Send a body on a new connection within `target.timeout` seconds in total; network failures never raise.

    The time covers everything: DNS, all addresses, TLS, sending, and reading the answer. Redirects are not followed
    but returned as answers; no proxy is used.
    """
    secrets = target.secrets()
    started, deadline = clock(), Deadline(target.timeout, clock)
    try:
        response, text = _exchange(target, path, headers, body, deadline, resolve)
    except (OSError, http.client.HTTPException, ValueError) as error:
        late = deadline.expired or isinstance(error, TimeoutError)
        what = f"no answer within {target.timeout:g} s" if late else str(error) or type(error).__name__
        return Answer(None, redact_values(f"{target.shown}: {what} ({clock() - started:.1f} s)", secrets))
    said = f"{target.shown} answered {response.status} {response.reason}".rstrip()
    if 300 <= response.status < 400:
        said += "; redirects are refused: configure the address that it leads to, if it is right"
    elif not 200 <= response.status < 300 and text:
        said += f": {text.decode('utf-8', 'replace').strip()[:_SHOWN]!r}"
    return Answer(response.status, redact_values(said, secrets), _retry_after(response))


def together(answers: Iterable[Answer], *, last: bool) -> Answer:
    """Combine the answers to one notification's requests: the first failure, otherwise the last answer.

    After a refusal the others are still sent if this is the `last` attempt, or if the reason was not the size; after a
    request without an answer none are.
    """
    failure, answer = None, Answer(None, "there is nothing to say")
    for answer in answers:
        if not answer.delivered:
            failure = failure or answer
            if not answer.hopeless or (answer.too_large and not last):
                break
    return failure or answer


def path_of(url: str) -> str:
    """Path and query of a URL, as in a request line."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _exchange(
    target: Target, path: str, headers: Mapping[str, str], body: bytes, deadline: Deadline, resolve: Resolve
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send the request; returns the answer with the beginning of its text."""
    parts = urlsplit(target.url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    context = ssl.create_default_context(cafile=target.ca) if secure else None
    connection = (
        http.client.HTTPSConnection(host, target.port, context=context)
        if secure
        else http.client.HTTPConnection(host, target.port)
    )
    with dialed(host, target.port, deadline, context, resolve) as sock:
        connection.sock = sock
        # A server that refuses a body for its size may close the connection early, yet has answered.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", path, body, {**headers, "Content-Length": str(len(body))})
        response, text = connection.getresponse(), b""
        # The status decides, even if reading the text fails: an accepted request must not be resent.
        with contextlib.suppress(OSError, http.client.HTTPException):
            text = response.read(_MOST_READ)
        return response, text


def _retry_after(response: http.client.HTTPResponse) -> float | None:
    """The pause in seconds from Retry-After, which holds seconds or a date."""
    text = (response.getheader("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MOST_RETRY_AFTER_S)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except (TypeError, ValueError, OverflowError):
        return None
    return None if moment is None else min(max(0.0, moment - time.time()), MOST_RETRY_AFTER_S)
