"""Run a local stack: start the parts in order, watch them until a stop signal, end them in reverse order."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from steptrail.deploy.stack import parts
from steptrail.deploy.stack.broker import BrokerFiles, write_config
from steptrail.deploy.stack.child import Child, Watchdog
from steptrail.deploy.stack.folder import StackFolder, write_json
from steptrail.deploy.stack.jars import ensure_jars
from steptrail.deploy.stack.java import Java, find_java
from steptrail.deploy.stack.logs import mark_start, tail, turn_over
from steptrail.deploy.stack.parts import Addresses, Part
from steptrail.deploy.stack.ports import PREFERRED, is_free, stable_ports
from steptrail.deploy.stack.supervised import PartState, RestartPolicy, Supervised
from steptrail.schemas.errors import SteptrailError

logger = logging.getLogger("steptrail.stack")

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StackStartError(SteptrailError):
    """A part of the stack could not be started; the message holds its last words."""


class PortTakenError(StackStartError):
    """Another process took a part's port between its choice and its use."""


class StopRequested(Exception):
    """A signal asked the supervisor to stop."""


class Supervisor:
    """The local stack of one folder. Its `run` wants the main thread: its children's lives hang on it.

    `on_ready` is called once, with the addresses, when everything answers.
    """

    def __init__(
        self,
        folder: StackFolder,
        *,
        with_projector: bool = True,
        any_port: bool = False,
        on_ready: Callable[[Addresses], None] = lambda _: None,
        policy: RestartPolicy | None = None,
    ) -> None:
        self._folder = folder
        self._with_projector = with_projector
        self._preferred = dict.fromkeys(PREFERRED, 0) if any_port else dict(PREFERRED)
        self._on_ready = on_ready
        self._policy = policy or RestartPolicy()
        self._watchdog = Watchdog()
        self._parts: dict[str, Supervised] = {}
        self._at: Addresses | None = None
        self._signals = 0
        self._wall = time.time() - time.monotonic()

    def run(self) -> int:
        """Start, watch, stop; 0 after an orderly stop.

        Raises StackRunningError, StackStartError or another SteptrailError when there is no stack to run; then
        nothing of it is left running.
        """
        self._folder.create()
        with self._folder.lock(), self._signal_handlers():
            self._folder.stack_file.unlink(missing_ok=True)
            self._write_status()
            failure: str | None = None
            try:
                self._start_somewhere()
                self._watch()
            except StopRequested:
                pass
            except SteptrailError as error:
                failure = str(error)
                raise
            finally:
                self._folder.stack_file.unlink(missing_ok=True)
                self._stop()
                self._watchdog.close()
                self._write_status(failure)
        return 0

    def _start_somewhere(self) -> None:
        java = find_java()
        jars = ensure_jars(say=logger.info)
        for attempt in range(3):
            try:
                self._start(java, jars)
                return
            except PortTakenError as taken:
                if attempt == 2:
                    raise
                logger.warning("%s; choosing others", taken)
                self._stop()

    def _start(self, java: Java, jars: Sequence[Path]) -> None:
        ports = stable_ports(self._folder.ports_file, preferred=self._preferred)
        at = Addresses(
            kafka_port=ports["kafka"],
            controller_port=ports["controller"],
            clickhouse_port=ports["clickhouse"],
            metrics_port=ports["metrics"],
            password=self._folder.password(),
            alerts_port=ports["alerts"],
            health_port=ports["health"],
            web_port=ports["web"] if self._with_projector else 0,
        )
        self._at = at
        self._parts.clear()
        self._write_status()
        environ = parts.parts_environ(self._folder, at)
        files = BrokerFiles(self._folder.kafka)
        write_config(files, port=at.kafka_port, controller_port=at.controller_port)

        # The broker takes longest and everything waits for it: its way goes first, the others overlap it.
        if not files.formatted:
            self._launch(parts.broker_format_part(java, jars, files, environ))
        else:
            self._launch(parts.broker_part(java, jars, files, at, environ))
        self._launch(parts.engine_part(self._folder, at, environ))
        self._launch(parts.setup_part(environ))
        if "broker-format" in self._parts:
            self._until(lambda: self._parts["broker-format"].state is PartState.DONE)
            del self._parts["broker-format"]
            self._launch(parts.broker_part(java, jars, files, at, environ))
        self._until(lambda: self._parts["setup"].state is PartState.DONE and self._all_ready())
        del self._parts["setup"]
        if self._with_projector:
            self._launch(parts.projector_part(at, environ))
            self._launch(parts.health_part(at, environ))
            self._launch(parts.web_part(at, environ))
            if alerts_file := environ.get("STEPTRAIL_ALERTS_FILE"):
                file = str(Path(alerts_file).expanduser().absolute())
                self._launch(parts.alerts_part(at, environ, file))
            self._until(self._all_ready)
        stack = {
            "kafka": at.kafka,
            "clickhouse": at.clickhouse,
            "dir": str(self._folder.path),
            "pid": os.getpid(),
        }
        more = {"metrics": at.metrics, "web": at.web} if self._with_projector else {}
        write_json(self._folder.stack_file, stack | more)
        self._write_status()
        logger.info("ready")
        self._on_ready(at)

    def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._tick()
            for part in self._parts.values():
                if part.hopeless or self._lost_its_port(part):
                    self._give_up(part)
            time.sleep(0.02)

    def _lost_its_port(self, supervised: Supervised) -> bool:
        part = supervised.part
        return bool(
            supervised.never_ready
            and supervised.state is PartState.WAITING
            and part.port
            and not is_free(part.port)
        )

    def _give_up(self, supervised: Supervised) -> None:
        part = supervised.part
        log = self._folder.log(part.name)
        words = tail(log)
        if self._lost_its_port(supervised):
            raise PortTakenError(f"port {part.port} of the {part.name} was taken by another process")
        raise StackStartError(
            f"the {part.name} could not be started ({supervised.last_exit}). "
            + (f"The end of {log}:\n{words}" if words else f"Its log {log} is empty.")
        )

    def _watch(self) -> None:
        next_logs = 0.0
        while True:
            self._tick()
            if time.monotonic() >= next_logs:
                next_logs = time.monotonic() + 5.0
                for name in self._parts:
                    turn_over(self._folder.log(name))
            time.sleep(0.2)

    def _tick(self) -> None:
        if self._signals:
            raise StopRequested
        changes = [part.tick(time.monotonic()) for part in self._parts.values()]
        if any(changes):
            self._write_status()

    def _launch(self, part: Part) -> None:
        supervised = Supervised(part, self._spawn, logger.warning if part.once else logger.info, self._policy)
        self._parts[part.name] = supervised
        supervised.start(time.monotonic())

    def _spawn(self, part: Part) -> Child:
        log = self._folder.log(part.name)
        mark_start(log)
        return Child(part.command, log=log, environ=part.environ, watchdog=self._watchdog)

    def _stop(self) -> None:
        """End the writers first, then what they write to."""
        last = [part for name, part in self._parts.items() if name in ("broker", "engine")]
        first = [part for part in self._parts.values() if part not in last]
        for group in (first, last):
            for part in group:
                part.terminate()
            deadline = time.monotonic() + max((part.part.stop_s for part in group), default=0.0)
            while [part for part in group if not part.stopped()]:
                if time.monotonic() >= deadline or self._signals > 1:
                    break
                time.sleep(0.02)
            for part in group:
                if not part.stopped():
                    logger.warning("%s did not stop in time; killing it", part.part.name)
                    part.kill()

    def _all_ready(self) -> bool:
        return all(part.state is PartState.READY for part in self._parts.values() if not part.part.once)

    def _write_status(self, failure: str | None = None) -> None:
        at = self._at
        told: dict[str, Any] = {
            "pid": os.getpid(),
            "ready": self._folder.stack_file.exists() and self._all_ready(),
            "failure": failure,
            "kafka": at.kafka if at else None,
            "clickhouse": at.clickhouse_shown if at else None,
            "parts": [part.told(lambda moment: self._wall + moment) for part in self._parts.values()],
        }
        try:
            write_json(self._folder.status_file, told)
        except OSError as fault:  # a full disk must not take the stack down with it
            logger.warning("the status could not be written: %s", fault)

    @contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        def on_signal(number: int, _: FrameType | None) -> None:
            self._signals += 1

        previous = {number: signal.signal(number, on_signal) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
