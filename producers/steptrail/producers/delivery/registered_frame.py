"""Looks up the schema registry's frame for events in the background.

`emit` never waits for the registry: until the schema's id is known, which happens once per process and its forks,
events carry the framing that needs no registry. Readers accept both, so none is lost and none is late.
"""

from __future__ import annotations

import random
import threading
import weakref
from collections.abc import Callable
from typing import Final

from steptrail.producers.delivery import threads
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import SteptrailError
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA
from steptrail.schemas.wire.framing import confluent_prefix
from steptrail.schemas.wire.registry import SchemaRegistry, subject_of

_log = fork_safe_log("steptrail.emitter")

FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0

# (registry, subject) -> frame. A schema's id never changes, so a forked child need not ask again.
_known: dict[tuple[str, str], bytes] = {}


class RegisteredFrame:
    """Makes an emitter frame its events with the registry's schema id, as soon as that is known.

    `frame_events` is the emitter's method that takes the frame; it does not keep the emitter alive. What the registry
    answers, or that it does not, only reaches the log, never the caller of `emit`.
    """

    def __init__(self, settings: Settings, topic: str, frame_events: Callable[[bytes], None]) -> None:
        assert settings.schema_registry is not None
        self._settings = settings
        self._subject = subject_of(topic)
        self._key = (settings.schema_registry, self._subject)
        self._frame_events = weakref.WeakMethod(frame_events)
        self._starts = [self._search]  # popped by the starter: no lock, since a signal handler may emit too
        self._stopped = threading.Event()

    @property
    def known(self) -> bytes | None:
        """The frame, if this process or an ancestor has found it."""
        return _known.get(self._key)

    def start(self) -> None:
        """Start the lookup in a thread that ends with the answer; later calls do nothing."""
        try:
            threads.start("steptrail-registry", self._starts.pop())
        except IndexError:
            pass
        except RuntimeError as error:  # no more threads, or the interpreter is ending: use the plain frame
            _log.warning("the schema registry is not used: %s", error)

    def stop(self) -> None:
        """Stop the lookup; a request in flight lasts at most its timeout."""
        self._stopped.set()

    def _search(self) -> None:
        delay = FIRST_RETRY_S
        told = None
        registry = None
        while not self._stopped.is_set() and self._frame_events() is not None:
            try:
                registry = registry or SchemaRegistry(self._settings)
                ask = registry.register if self._settings.schema_registry_register else registry.look_up
                _known[self._key] = frame = confluent_prefix(ask(self._subject, STEP_EVENT_SCHEMA))
            except Exception as error:
                reason = str(error) if isinstance(error, SteptrailError) else type(error).__name__
                if reason != told:
                    told = reason
                    _log.warning("events are framed without the schema registry for now: %s", reason)
                # Jitter, so that workers that lost it together do not all reconnect together.
                self._stopped.wait(delay * random.uniform(0.5, 1.0))  # noqa: S311  no secret
                delay = min(delay * 2, LAST_RETRY_S)
                continue
            if (frame_events := self._frame_events()) is not None:
                frame_events(frame)
            _log.info("events are framed by the schema registry's id %d", int.from_bytes(frame[1:], "big"))
            return
