"""The emitter: takes a step's events and delivers them to Kafka, at almost no cost to the caller."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from typing_extensions import Self, Unpack

from steptrail.producers.accounting import Accounting
from steptrail.producers.arguments import check_timeout
from steptrail.producers.broker_clock import ClockOffset, broker_clock
from steptrail.producers.delivery import process_lifecycle as inheritance
from steptrail.producers.delivery.registered_frame import RegisteredFrame
from steptrail.producers.delivery.transport import Transport
from steptrail.producers.events.source import EventSource, Line
from steptrail.producers.extraction import worker_name
from steptrail.producers.persistence.spool import prepare_folder
from steptrail.producers.reopening import new_origin, reopened
from steptrail.producers.secrets.redaction import Redaction, as_redaction
from steptrail.producers.secrets.redactors import Redactor
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.configuration.settings_values import SettingsOverrides, SettingsValues
from steptrail.schemas.wire.registry import require_client


class StepEmitter(EventSource):
    """Emits events of one pipeline. Never blocks, never raises when the infrastructure fails, holds a bounded number
    of events, and counts the outcome of each (`accounting`).

    `settings` come from the environment when not given; `pipeline` and any further argument override one of them
    (`StepEmitter(kafka="broker:9092", linger_ms=5)`). Raises ConfigurationError for an invalid setting.

    Nothing is opened before the first event. Safe for threads, under asyncio (nothing waits) and in forked children,
    where an emitter continues with its own id and counts. On a normal exit of the process, pending events are delivered
    for up to `exit_flush_s` seconds.

    With a schema registry in the settings (the extra `registry`), events carry its schema id as soon as it has
    answered; nothing waits for that, and events before it are framed as without a registry.

    `redact` is a chain of redactors (`steptrail.producers.secrets.redaction`) applied to details, metrics and error
    messages before anything leaves the process.

    `spool` is a folder that keeps events which would be lost because the broker is unavailable or slow. They are resent
    when it is back, by this emitter or a later one with the same folder
    (`steptrail.producers.persistence.spool`).

    A pickled emitter carries its settings, including secrets, and redactors, and reopens where it is unpickled; copies
    unpickled in one process share one emitter. A copy by `copy` is the emitter itself.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        pipeline: str | None = None,
        redact: Redaction | Iterable[Redactor] | None = None,
        spool: str | os.PathLike[str] | None = None,
        **overrides: Unpack[SettingsOverrides],
    ) -> None:
        values: SettingsValues = {**overrides}  # type: ignore[typeddict-item] # mypy: that it may lack a key
        if pipeline is not None:
            values["pipeline"] = pipeline
        if settings is None:
            settings = Settings(**values)
        elif values:
            settings = settings.with_values(**values)
        if settings.schema_registry is not None:
            require_client()
        super().__init__(settings, as_redaction(redact))
        self._clock = broker_clock(settings.kafka)
        self.exit_flush_s = settings.exit_flush_s
        self._closed = False
        self.origin = new_origin()
        """What this emitter and its pickled copies have in common."""
        self._spool = None if spool is None else prepare_folder(spool)
        self._transport = Transport(settings, self._spool)
        self._begin(self._transport)
        inheritance.enroll(self)

    def _begin(self, line: Line) -> None:
        super()._begin(line)
        self._transport.self_report.introduce(self.emitter_id, self._clean_pipeline, worker_name())
        self._registered: RegisteredFrame | None = None
        if self.settings.schema_registry is None:
            return
        registered = self._registered = RegisteredFrame(self.settings, line.topic, self._frame_events)
        if registered.known is not None:
            self._frame_events(registered.known)
            return
        encode = self._encode

        def encode_first(*event: Any) -> bytes:
            self._encode = encode
            registered.start()
            if registered.known is not None:  # another thread found it meanwhile: do not undo it
                self._frame_events(registered.known)
            return encode(*event)

        self._encode = encode_first

    @property
    def redaction(self) -> Redaction | None:
        """The redaction that is applied to events, if any; its `counts` show how often it acted."""
        return self._redact

    @property
    def topic(self) -> str:
        """The topic that events are produced to."""
        return self._transport.topic

    def flush(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for deliveries; returns how many events are still pending."""
        return self._transport.flush(check_timeout(timeout))

    def close(self, timeout: float = 2.0) -> None:
        """Deliver for up to `timeout` seconds, count what is left as failed, and release all resources."""
        check_timeout(timeout)
        if not self._closed:
            self._stop_asking()
            self._transport.close(timeout)
            self._closed = (
                True  # last: after an interruption `close` can be repeated, and the process's exit does
            )

    def accounting(self) -> Accounting:
        """The outcome of every event that this emitter took in this process."""
        return self._transport.counters.snapshot()

    @property
    def thread_faults(self) -> int:
        """How often a thread of this emitter failed with an error, which is logged; events are still counted, and
        `flush` and `close` do the work of a dead thread.
        """
        return self._transport.thread_faults

    @property
    def clock_offset(self) -> ClockOffset | None:
        """What to add to this process's clock to get the brokers'; None before the first delivery."""
        return self._clock.known

    def delivered_offsets(self) -> dict[int, int]:
        """Partition -> highest offset that the broker acknowledged for an event of this emitter."""
        counters = self._transport.counters
        with counters.lock:
            return dict(counters.offsets)

    def after_fork_in_child(self) -> None:
        """Called in the child at a fork: the emitter starts afresh there."""
        inherited, self._transport = self._transport, Transport(self.settings, self._spool)
        self._begin(self._transport)
        inherited.disown(self._transport)
        if self._closed:
            self._transport.close(0)

    def close_at_exit(self, timeout: float) -> int:
        """Called when the process exits; returns how many events were left."""
        if self._closed:
            return 0
        self._stop_asking()
        left = self._transport.close(timeout, destroy=False)
        self._closed = True
        return left

    def _stop_asking(self) -> None:
        if self._registered is not None:
            self._registered.stop()

    @property
    def closed(self) -> bool:
        """Whether the emitter is closed."""
        return self._closed

    def __reduce__(self) -> tuple[Any, ...]:
        spool = None if self._spool is None else os.fspath(self._spool)
        return reopened, (type(self), self.origin, self.settings, self._redact, spool)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:  # noqa: SIM105  when the interpreter ends, contextlib may be gone
            self._transport.retire()
        except Exception:  # noqa: S110  nowhere left to report it
            pass

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<StepEmitter {self.pipeline!r} {self.emitter_id.hex()} {state}>"
