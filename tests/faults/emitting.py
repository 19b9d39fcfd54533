"""How a worker of the matrix emits: planned events at a steady rate, counted and timed, with a durable record.

Under the worker's name, in its folder: `NAME.intent`, up to which number it may have emitted (written before);
`NAME.accepted`, how many `add_step` took, in a mapped counter that is set right after each has returned, and outlives
the process; `NAME.acks`, what was acknowledged (faults.witness); `NAME.account`, the emitter's own words, one JSON line
for each process that came to say them.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from faults.corpus import planned
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.producers.accounting import Accounting
from steptrail.producers.emitter import StepEmitter

BLOCK = 50
_COUNT = struct.Struct("<Q")
LONGEST_US = 1_000_000


class Emission:
    """Event after event of one worker, through the manager that pipelines use."""

    def __init__(
        self, folder: Path, worker: str, *, filler: int = 0, gives_times: bool = False, **overrides: Any
    ) -> None:
        self.worker = worker
        self.storage = emit_only(**overrides)
        assert isinstance(self.storage, StepEmitter)
        self.emitter: StepEmitter = self.storage
        self._add_step = ProcessingStepManager(self.storage).add_step
        self._folder = folder
        self._filler = filler
        self._gives_times = gives_times
        self._has_spool = any(overrides.get(name) is not None for name in ("spool", "journal_dir"))
        self._accepted = _counter(folder / f"{worker}.accepted")
        self._intent = os.open(folder / f"{worker}.intent", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._next = 0
        self._allowed = 0
        self._microseconds = [0] * (LONGEST_US + 1)

    def go_on_as(self, worker: str) -> None:
        """In a forked child: from here on these are another worker's events."""
        self.__dict__.update(
            worker=worker,
            _accepted=_counter(self._folder / f"{worker}.accepted"),
            _intent=os.open(self._folder / f"{worker}.intent", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            _next=0,
            _allowed=0,
        )

    @property
    def emitted(self) -> int:
        """How many, so far."""
        return self._next

    def emit(self, count: int = 1) -> None:
        """The next events."""
        clock = time.perf_counter_ns
        for number in range(self._next, self._next + count):
            if number >= self._allowed:
                self._allowed = number + BLOCK
                os.write(self._intent, b"%d\n" % self._allowed)
            event = planned(self.worker, number, self._filler)
            began = clock()
            self._add_step(
                event.doc_id,
                event.step_name,
                event.status,
                event.details,
                event.metrics,
                event.error_message,
                self._time() if self._gives_times else None,
            )
            self._microseconds[min((clock() - began) // 1000, LONGEST_US)] += 1
            self._next = number + 1
            _COUNT.pack_into(self._accepted, 0, number + 1)

    def _time(self) -> datetime:
        """By this process's clock, a moment ago: a time that the caller gives, and that nobody corrects."""
        return datetime.fromtimestamp(time.time() - 0.01, timezone.utc)

    def run(self, stop: threading.Event, *, rate: float, count: int | None = None) -> None:
        """Emit `rate` events a second (0: as fast as it goes) until `stop` or until there are `count`."""
        began, first = time.monotonic(), self._next
        while not stop.is_set() and (count is None or self._next < count):
            left = 200 if count is None else min(200, count - self._next)
            due = left if not rate else min(left, int((time.monotonic() - began) * rate) + first - self._next)
            if due > 0:
                self.emit(due)
            else:
                time.sleep(0.002)

    def account(self, **more: Any) -> None:
        """Write down what the emitter says now, and how long its callers had to wait."""
        told = {
            "worker": self.worker,
            "emitter": self.emitter.emitter_id.hex(),
            "emitted": self._next,
            **as_dict(self.emitter.accounting()),
            "has_spool": self._has_spool,
            "p50_us": self._percentile(0.5),
            "p99_us": self._percentile(0.99),
            "p999_us": self._percentile(0.999),
            "max_us": self._percentile(1.0),
            **more,
        }
        descriptor = os.open(
            self._folder / f"{self.worker}.account", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        os.write(descriptor, json.dumps(told).encode() + b"\n")
        os.close(descriptor)

    def _percentile(self, share: float) -> int:
        wanted = share * sum(self._microseconds)
        seen = 0
        for microseconds, times in enumerate(self._microseconds):
            seen += times
            if times and seen >= wanted:
                return microseconds
        return 0


def _counter(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _COUNT.size)
        return mmap.mmap(descriptor, _COUNT.size)
    finally:
        os.close(descriptor)


def accepted_by(folder: Path) -> dict[str, int]:
    """Worker → how many of its events `add_step` took; one more, perhaps, where it was killed."""
    # A file that was only just made has no bytes yet.
    counts = {file.stem: file.read_bytes().ljust(_COUNT.size, b"\0") for file in folder.glob("*.accepted")}
    return {worker: _COUNT.unpack(count)[0] for worker, count in counts.items()}


class BalanceWatch(threading.Thread):
    """Asks an emitter for its accounting over and over, from a thread of its own, and checks the equation.

    Makes the file `failing` once an event has failed, so that a row can wait for that and need not guess how long
    this worker takes.
    """

    def __init__(self, emitter: StepEmitter, failing: Path) -> None:
        super().__init__(name="balance", daemon=True)
        self.checks = 0
        self.wrong: list[dict[str, Any]] = []
        self._emitter = emitter
        self._failing = failing

    def run(self) -> None:
        """Until the process ends."""
        while True:
            accounting = self._emitter.accounting()
            self.checks += 1
            if not is_balanced(accounting) and len(self.wrong) < 5:
                self.wrong.append(as_dict(accounting))
            if accounting.failed and not self._failing.exists():
                self._failing.touch()
            time.sleep(0.005)


def is_balanced(accounting: Accounting) -> bool:
    """The equation, added up here."""
    told = as_dict(accounting)
    return bool(
        told["accepted"]
        == told["delivered"]
        + sum(told["failed"].values())
        + sum(told["dropped"].values())
        + told["pending"]
        + told["spooled"]
    )


def as_dict(accounting: Accounting) -> dict[str, Any]:
    """For JSON."""
    return {
        "accepted": accounting.accepted,
        "delivered": accounting.delivered,
        "failed": dict(accounting.failed),
        "dropped": dict(accounting.dropped),
        "pending": accounting.pending,
        "spooled": accounting.spooled,
    }
