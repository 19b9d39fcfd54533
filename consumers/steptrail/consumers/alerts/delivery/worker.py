"""One thread for each target, so that a target that hangs or fails delays no other."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from steptrail.consumers.alerts.delivery.alertmanager import bodies, send_alerts
from steptrail.consumers.alerts.delivery.http_post import Answer
from steptrail.consumers.alerts.delivery.target import ALERTMANAGER, Target
from steptrail.consumers.alerts.delivery.templates import MOST_SHORTER
from steptrail.consumers.alerts.delivery.webhook import send_webhook
from steptrail.consumers.alerts.model.notification import Notification
from steptrail.consumers.runtime.backoff import Backoff

_log = logging.getLogger("steptrail.consumers.alerts")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a notification: delivered, or dead after `attempts`; `said` is the target's last answer."""

    notification: Notification
    delivered: bool
    attempts: int
    said: str


@dataclass(order=True)
class _Task:
    due: float
    number: int
    notification: Notification
    backoff: Backoff
    shorter: int = 0


def send(target: Target, notification: Notification, now: float, shorter: int = 0) -> Answer:
    """Make one attempt; `now` in seconds since the epoch; `shorter`: how often it was refused for its size."""
    sender = send_alerts if target.type == ALERTMANAGER else send_webhook
    return sender(target, notification, now, shorter)


def next_shorter(target: Target, notification: Notification, shorter: int) -> int | None:
    """The next value of `shorter` that gives shorter requests; None if there is none."""

    def largest(of: int) -> int:
        if target.type == ALERTMANAGER:
            return max(map(len, bodies(target, notification, notification.made_at, of)))
        return max(len(body) for _, body in target.template.parts(notification, of))

    refused = largest(shorter)
    return next((each for each in range(shorter + 1, MOST_SHORTER + 1) if largest(each) < refused), None)


class Worker:
    """Sends notifications with retries and backoff (at once with less text if it was too long), and calls `done`
    with each outcome from its own thread.

    `dead`: the target's last notification died, so each gets a single attempt until one is delivered. A daemon
    thread: a hanging target does not keep the process from ending.
    """

    def __init__(self, target: Target, done: Callable[[Outcome], None], *, dead: bool = False) -> None:
        self.target = target
        self.dead = dead
        self.stopped = False
        self._done = done
        self._tasks: list[_Task] = []
        self._known: set[str] = set()
        self._number = 0
        self._not_before = 0.0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"alerts-{target.name}", daemon=True)
        self._thread.start()

    def submit(self, notification: Notification) -> None:
        """Queue a notification; one in flight is not sent twice."""
        with self._changed:
            if notification.id not in self._known:
                self._known.add(notification.id)
                self._number += 1
                task = _Task(time.monotonic(), self._number, notification, Backoff(self.target.backoff))
                heapq.heappush(self._tasks, task)
                self._changed.notify()

    def stop(self) -> None:
        """Start no more attempts; `done` is still called for the one in flight, unless it would be retried."""
        with self._changed:
            self.stopped = True
            self._tasks.clear()
            self._known.clear()
            self._changed.notify()

    def join(self, timeout: float) -> None:
        """Wait for the attempt in flight."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                answer = send(self.target, task.notification, time.time(), task.shorter)
            except Exception as error:  # a bug must not end the thread, and is reported
                _log.exception("cannot send", extra={"target": self.target.name})
                answer = Answer(None, f"{type(error).__name__} in steptrail: see its log")
            try:
                self._take(task, answer)
            except Exception:  # nor an error in `done`
                _log.exception("cannot tell what became of it", extra={"target": self.target.name})
                with self._changed:
                    self._known.discard(task.notification.id)

    def _next(self) -> _Task | None:
        with self._changed:
            while not self.stopped:
                due = max(self._tasks[0].due, self._not_before) if self._tasks else None
                left = None if due is None else due - time.monotonic()
                if left is not None and left <= 0:
                    return heapq.heappop(self._tasks)
                self._changed.wait(left)
            return None

    def _take(self, task: _Task, answer: Answer) -> None:
        notification = task.notification
        if (
            answer.too_large
            and (shorter := next_shorter(self.target, notification, task.shorter)) is not None
        ):
            task.shorter = shorter
            self._again(task, answer, 0.0)
            return
        if not answer.delivered:
            delay = task.backoff.failed()
            tries = 1 if self.dead else self.target.attempts
            if not answer.hopeless and task.backoff.failures < tries:
                self._again(task, answer, delay)
                return
        self.dead = not answer.delivered
        attempts = task.backoff.failures + answer.delivered
        # Report before forgetting: a resubmission in between must find it in flight.
        self._done(Outcome(notification, answer.delivered, attempts, answer.said))
        with self._changed:
            self._known.discard(notification.id)

    def _again(self, task: _Task, answer: Answer, delay: float) -> None:
        with self._changed:
            if self.stopped:
                return
            now = time.monotonic()
            if answer.retry_after is not None:
                delay = max(delay, answer.retry_after)
                self._not_before = now + answer.retry_after
            task.due = now + delay
            heapq.heappush(self._tasks, task)
        _log.warning(
            "delivery failed, will retry: %s",
            answer.said,
            extra={
                "target": self.target.name,
                "notification": task.notification.id,
                "attempt": task.backoff.failures,
                "shorter": task.shorter,
                "retry_in_seconds": round(delay, 2),
            },
        )
