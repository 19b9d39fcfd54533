"""The workers of all targets: takes notifications, returns outcomes."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Mapping

from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.delivery.worker import Outcome, Worker
from steptrail.consumers.alerts.model.notification import Notification
from steptrail.consumers.runtime.deadline import Deadline


class WorkerPool:
    """One worker per target. One thread owns the pool; workers report outcomes from their own threads."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def use(self, targets: Mapping[str, Target], dead: Iterable[str]) -> None:
        """Reconcile the workers with the configured targets; those in `dead` start in single-attempt mode.

        The worker of an unchanged target continues. Notifications in flight to the others must be resubmitted.
        """
        before, dead = self.workers, set(dead)
        self.workers = {}
        for name, target in targets.items():
            worker = before.get(name)
            if worker is None or worker.stopped or worker.target != target:
                worker = Worker(target, self._outcomes.put, dead=name in dead)
            self.workers[name] = worker
        for name, worker in before.items():
            if self.workers.get(name) is not worker:
                worker.stop()

    def submit(self, notification: Notification) -> None:
        """Queue a notification if its target exists; one in flight is not sent twice."""
        worker = self.workers.get(notification.target)
        if worker is not None:
            worker.submit(notification)

    def outcomes(self) -> list[Outcome]:
        """The outcomes since the last call."""
        found = []
        while True:
            try:
                found.append(self._outcomes.get_nowait())
            except queue.Empty:
                return found

    def stop(self) -> None:
        """Start no more attempts."""
        for worker in self.workers.values():
            worker.stop()

    def join(self, deadline: Deadline) -> None:
        """Wait for the attempts in flight."""
        for worker in self.workers.values():
            worker.join(deadline.remaining())
