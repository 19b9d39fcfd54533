"""All targets' workers: what is to be sent goes in, what came of it comes out."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Mapping

from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.delivery.worker import Outcome, Worker
from steptrail.consumers.alerts.model.notification import Notification
from steptrail.consumers.runtime.deadline import Deadline


class Crew:
    """A worker for each target; for one thread, save that the workers tell their outcomes from theirs."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def use(self, targets: Mapping[str, Target], dead: Iterable[str]) -> None:
        """Work for these targets, as they are now configured; those in `dead` take nothing at present.

        Who works for a target that is as before goes on. What was on its way to others must be submitted again.
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
        """Send it, if there is such a target; what is on its way is not sent twice."""
        worker = self.workers.get(notification.target)
        if worker is not None:
            worker.submit(notification)

    def outcomes(self) -> list[Outcome]:
        """What has ended since this was asked last."""
        found = []
        while True:
            try:
                found.append(self._outcomes.get_nowait())
            except queue.Empty:
                return found

    def stop(self) -> None:
        """Begin nothing more."""
        for worker in self.workers.values():
            worker.stop()

    def join(self, deadline: Deadline) -> None:
        """Wait for the attempts that are under way."""
        for worker in self.workers.values():
            worker.join(deadline.remaining())
