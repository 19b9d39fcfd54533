"""What the poll thread tells Python's logging: librdkafka's own lines, and losses, each not too often."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError

from steptrail.producers.accounting import Accounting, Counters
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.schemas.access.denials import denial
from steptrail.schemas.access.rights import Right

_log = fork_safe_log("steptrail.emitter")
_kafka_log = fork_safe_log("steptrail.kafka")

_REPEAT_S = 30.0
_HELD_LINES = 1000
_HEALING = frozenset(
    {"GETPID"}
)  # a broker that has only just started: it is asked again, and nothing waits for it


class PollLog:
    """Stands in for a logger in librdkafka's client: holds lines until the poll thread writes them.

    librdkafka hands its lines to whoever polls, which may be a thread that emits and must not wait for a
    log's file. Each kind of line is written once in 30 s. `redact` takes out secrets, since librdkafka
    quotes bad settings. `config` holds the client's properties, `topic` is that of the events.
    """

    def __init__(self, redact: Callable[[object], str], config: Mapping[str, Any], topic: str) -> None:
        self._redact = redact
        self._config = config
        self._topic = topic
        self._lines: deque[tuple[int, str]] = deque(maxlen=_HELD_LINES)
        self._told: dict[str, float] = {}

    def log(self, level: int, form: str, *args: object) -> None:
        """Called by librdkafka's client, with the kind of the line as the first argument."""
        if args and args[0] in _HEALING:
            level = min(level, logging.INFO)
        self._hold(level, f"log {args[0] if args else form}", form % args)

    def on_error(self, error: KafkaError) -> None:
        """librdkafka's error callback: faults of the connection, most of which heal."""
        level = logging.ERROR if error.fatal() else logging.WARNING
        self._hold(level, f"error {error.name()}", f"{error.name()}: {error.str()}")

    def on_denial(self, error: KafkaError | Exception, topic: str | None = None) -> None:
        """A message to `topic` failed, by default an event: hold a line, if that is since a right is missing."""
        topic = topic or self._topic
        if (said := denial(error, self._config, Right("Write", "topic", topic))) is not None:
            self._hold(logging.ERROR, f"denied {topic}", said)

    def _hold(self, level: int, kind: str, line: str) -> None:
        # A broker that is away would otherwise be told of several times a second.
        now = time.monotonic()
        if now - self._told.get(kind, -_REPEAT_S) >= _REPEAT_S:
            self._told[kind] = now
            self._lines.append((level, line))

    def drain(self) -> None:
        """Write what is held."""
        while self._lines:
            level, line = self._lines.popleft()
            _kafka_log.log(level, "%s", self._redact(line))


class LossReporter:
    """Says in the log that events were lost: at once, then every 30 s while more are."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._told_at = -_REPEAT_S
        self._told = 0

    def tell(self, *, final: bool = False) -> None:
        """Called often; logs rarely."""
        now = time.monotonic()
        if not final and now - self._told_at < _REPEAT_S:
            return
        accounting = self._counters.snapshot()
        lost = accounting.lost + accounting.maybe_delivered
        if lost > self._told:
            _log.warning(
                "steps were not delivered: %s", describe(accounting), extra={"accounting": accounting}
            )
            self._told, self._told_at = (
                lost,
                now,
            )  # afterwards: two may say it at once, but none is kept from it


def describe(accounting: Accounting) -> str:
    """The accounting in one line, for people."""
    reasons = [f"{n:,} failed ({reason})" for reason, n in accounting.failed.items()]
    reasons += [f"{n:,} dropped ({reason})" for reason, n in accounting.dropped.items()]
    if accounting.spooled:
        reasons.append(f"{accounting.spooled:,} spooled")
    if accounting.unjournalled:
        reasons.append(f"{accounting.unjournalled:,} without the journal")
    parts = [f"{accounting.delivered:,} delivered", *reasons, f"{accounting.pending:,} pending"]
    return f"of {accounting.accepted:,} accepted: {', '.join(parts)}"
