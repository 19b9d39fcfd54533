"""Alerts and silences as their topics say now, kept at hand by a reader that follows them."""

from __future__ import annotations

import copy
import threading
import time
from typing import Final

from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.alerts.overview import put_silence
from steptrail.consumers.alerts.topics import Board, BoardReader
from steptrail.consumers.kafka.errors import BrokerUnavailable
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import SteptrailError

_PATIENCE_S: Final = 1.2
_POLL_S: Final = 0.25
_FIRST_READ_S: Final = 15.0
_AGAIN_AFTER_S: Final = 2.0


class BoardKeeper:
    """Follows the topics of alerting from `start` on, or the first question. `current` waits 1.2 s at most."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._board: Board | None = None
        self._problem: SteptrailError | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read in the background, so that the first question does not wait for the whole of the topics."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="steptrail-web-alerts", daemon=True)
                self._thread.start()

    def current(self) -> Board:
        """What the topics say. Raises BrokerUnavailable and TopicMissing."""
        self.start()
        until = time.monotonic() + _PATIENCE_S
        with self._changed:
            while self._board is None:
                left = until - time.monotonic()
                if self._problem is not None:
                    raise self._problem
                if left <= 0:
                    raise BrokerUnavailable(f"Kafka at {self._settings.kafka} did not answer in time")
                self._changed.wait(left)
            return copy.copy(self._board)

    def put(self, silence: Silence) -> None:
        """Write a silence, or what it is now. Raises BrokerUnavailable and TopicMissing."""
        put_silence(self._settings, silence)
        with self._changed:
            if self._board is not None:  # what the topic says a moment later
                self._board.silences = {**self._board.silences, silence.id: silence}

    def close(self) -> None:
        """Read no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._closed:
            try:
                self._follow()
            except SteptrailError as error:
                with self._changed:
                    self._board, self._problem = None, error
                    self._changed.notify_all()
                    self._changed.wait(_AGAIN_AFTER_S)

    def _follow(self) -> None:
        reader = BoardReader(self._settings)
        try:
            board = reader.read_all(_FIRST_READ_S)
            self._publish(board)
            while not self._closed:
                if reader.poll():
                    self._publish(board)
                with self._changed:
                    self._changed.wait(_POLL_S)
        finally:
            reader.close()

    def _publish(self, board: Board) -> None:
        # Copies: who was given one reads it while the next records come.
        with self._changed:
            self._board = Board(
                dict(board.alerts), dict(board.told), dict(board.sending), dict(board.silences)
            )
            self._problem = None
            self._changed.notify_all()
