"""Step events as pipelines of documents really write them: seeded, in order of time, with real words.

Three pipelines, each with its own kind of document id and its own steps; workers that take one document
after the other; retries, failures, warnings and skipped steps; error messages with the paths, addresses
and numbers that real ones carry. The text in the details is cut from the licence at the root of this
repository, so it has the frequencies of English and is the same everywhere.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from steptrail.schemas import ProcessingStatus, StepEvent

SEED = 7
WORKERS = 16
START = datetime(2025, 3, 3, 6, 0, tzinfo=timezone.utc)
"""A Monday morning, the same for every run: ids and times do not depend on when the generator runs."""

WORDS = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8").split()
LANGUAGES = ("en", "en", "en", "de", "fr", "es", "it", "nl", "pl")
HOSTS = ("worker-a1", "worker-a2", "worker-b1", "worker-b2")


def _word(rng: random.Random) -> str:
    return "".join(c for c in WORDS[rng.randrange(len(WORDS))].lower() if c.isalpha()) or "notice"


@dataclass(frozen=True)
class Pipeline:
    """A pipeline: how its documents are named, and its steps with their median duration in ms."""

    name: str
    doc_id: Callable[[random.Random, int], str]
    steps: tuple[tuple[str, float], ...]


PIPELINES = (
    Pipeline(
        "invoices",
        lambda rng, n: f"invoices/2025/{n % 12 + 1:02d}/INV-{n:07d}.pdf",
        (
            ("fetch", 120),
            ("detect_type", 15),
            ("ocr", 2400),
            ("extract", 340),
            ("validate", 40),
            ("store", 60),
        ),
    ),
    Pipeline(
        "contracts",
        lambda rng, n: f"{rng.getrandbits(128):032x}",
        (("fetch", 90), ("convert", 700), ("split", 80), ("embed", 1500), ("index", 110)),
    ),
    Pipeline(
        "web-archive",
        lambda rng, n: f"https://www.{_word(rng)}.example/articles/{n}.html",
        (("fetch", 450), ("decode", 8), ("parse", 35), ("extract", 30), ("count_terms", 22), ("store", 45)),
    ),
)

ERRORS: tuple[tuple[str, Callable[[random.Random, str], str]], ...] = (
    ("TimeoutError", lambda r, d: f"no answer from 10.4.{r.randrange(256)}.{r.randrange(1, 255)}:443 within 30 s"),
    ("ConnectionResetError", lambda r, d: "[Errno 104] Connection reset by peer"),
    ("UnicodeDecodeError", lambda r, d: f"'utf-8' codec can't decode byte 0x{r.randrange(128, 256):x} "
                                        f"in position {r.randrange(90_000)}: invalid continuation byte"),
    ("PdfReadError", lambda r, d: f"EOF marker not found in {d} ({r.randrange(1_000, 9_000_000)} bytes read)"),
    ("ValueError", lambda r, d: f"total {r.randrange(10_000) / 100} does not equal the sum of "
                                f"{r.randrange(2, 40)} lines ({r.randrange(10_000) / 100})"),
    ("KeyError", lambda r, d: repr(_word(r))),
    ("MemoryError", lambda r, d: f"page {r.randrange(1, 400)} needs {r.randrange(800, 6_000)} MiB"),
    ("HTTPStatusError", lambda r, d: f"503 Service Unavailable for POST /v1/embeddings (request "
                                     f"{r.getrandbits(64):016x})"),
)  # fmt: skip


class Worker:
    """One process: it takes documents one after the other and numbers what it emits."""

    def __init__(self, seed: int, index: int) -> None:
        self.rng = random.Random(f"{seed}/{index}")
        self.name = f"{HOSTS[index % len(HOSTS)]}:{2000 + index * 37}"
        self.emitter_id = self.rng.randbytes(8)
        self._id_bits = (0x7000 | self.rng.getrandbits(12)) << 64 | 1 << 63 | self.rng.getrandbits(61)
        self.index = index
        self.sequence = -1
        self.now_us = int(START.timestamp() * 1_000_000) + self.rng.randrange(2_000_000)

    def events(self) -> Iterator[StepEvent]:
        """This worker's events without end, each no earlier than the one before."""
        number = self.index
        while True:
            pipeline = PIPELINES[self.rng.choices((0, 1, 2), (5, 2, 3))[0]]
            yield from self._document(pipeline, pipeline.doc_id(self.rng, number))
            number += WORKERS

    def _document(self, pipeline: Pipeline, doc_id: str) -> Iterator[StepEvent]:
        rng = self.rng
        trace_id = f"{rng.getrandbits(128):032x}" if rng.random() < 0.2 else None
        for position, (step, median_ms) in enumerate(pipeline.steps):
            before = [pipeline.steps[position - 1][0]] if position else []
            if rng.random() < 0.01:
                reason = {"reason": "too large", "bytes": rng.randrange(50_000_000, 900_000_000)}
                yield self._event(pipeline, doc_id, step, 1, None, "SKIPPED", trace_id, before, reason)
                return
            for attempt in range(1, 4):
                retry = {"retry_count": attempt - 1} if attempt > 1 else {}
                opening = self._event(
                    pipeline, doc_id, step, attempt, None, "RUNNING", trace_id, before, retry
                )
                yield opening
                duration_ms = round(median_ms * rng.lognormvariate(0, 0.5), 3)
                self.now_us += int(duration_ms * 1000)
                ending = self._ending(attempt)
                details = {**retry, **self._results(step)} if ending in ("SUCCESS", "WARNING") else retry
                yield self._event(
                    pipeline,
                    doc_id,
                    step,
                    attempt,
                    opening.execution_id,
                    ending,
                    trace_id,
                    before,
                    details,
                    duration_ms,
                )
                if ending == "FAILED":
                    return
                if ending != "ERROR":
                    break
                self.now_us += int(250_000 * 2**attempt)
        self.now_us += rng.randrange(20_000)

    def _ending(self, attempt: int) -> str:
        chance = self.rng.random()
        if chance < 0.004 or (attempt == 3 and chance < 0.3):
            return "FAILED"
        if chance < 0.03 or (attempt > 1 and chance < 0.25):
            return "ERROR" if attempt < 3 else "FAILED"
        return "WARNING" if chance < 0.045 else "SUCCESS"

    def _results(self, step: str) -> dict[str, Any]:
        rng = self.rng
        if step in ("fetch", "store", "index"):
            return {"bytes": int(rng.lognormvariate(11, 1.2))}
        if step in ("extract", "parse", "split"):
            at = rng.randrange(len(WORDS) - 12)
            return {"title": " ".join(WORDS[at : at + rng.randrange(3, 9)]), "sections": rng.randrange(1, 40)}
        if step in ("ocr", "convert"):
            return {"pages": rng.randrange(1, 60), "language": rng.choice(LANGUAGES)}
        return {"items": rng.randrange(1, 500)}

    def _id(self) -> bytes:
        """The id of this event as emitters make it: its time, the emitter's own bits, its sequence number."""
        return (self.now_us // 1000 << 80 | self._id_bits + self.sequence).to_bytes(16, "big")

    def _event(
        self,
        pipeline: Pipeline,
        doc_id: str,
        step: str,
        attempt: int,
        execution: bytes | None,
        status: str,
        trace_id: str | None,
        depends_on: list[str],
        details: dict[str, Any],
        duration_ms: float | None = None,
    ) -> StepEvent:
        rng = self.rng
        self.now_us += rng.randrange(40, 900)
        error_type = message = None
        if status in ("ERROR", "FAILED"):
            error_type, text = ERRORS[min(rng.randrange(len(ERRORS)), rng.randrange(len(ERRORS)))]
            message = text(rng, doc_id)
        elif status == "WARNING":
            message = f"{step} took {duration_ms} ms, more than its threshold"
        metrics = {}
        if duration_ms is not None:
            metrics = {"duration_ms": duration_ms, "peak_mb": round(rng.lognormvariate(4.5, 0.4), 1)}
        self.sequence += 1
        event_id = self._id()
        return StepEvent(
            event_id=event_id,
            pipeline=pipeline.name,
            doc_id=doc_id,
            step_name=step,
            execution_id=execution or event_id,  # an execution has the id of the event that begins it
            attempt=attempt,
            status=ProcessingStatus(status),
            timestamp=self.now_us,
            duration_ms=duration_ms,
            error_type=error_type,
            error_message=message,
            details=orjson.dumps(details).decode(),
            metrics=orjson.dumps(metrics).decode(),
            depends_on=orjson.dumps(depends_on).decode(),
            trace_id=trace_id,
            worker=self.name,
            emitter_id=self.emitter_id,
            sequence=self.sequence,
        )


def generate(count: int, seed: int = SEED) -> Iterator[StepEvent]:
    """The first `count` events of all workers together, in order of their time."""
    streams = [Worker(seed, index).events() for index in range(WORKERS)]
    heap = [(event.timestamp, index, event) for index, event in enumerate(next(s) for s in streams)]
    heapq.heapify(heap)
    for _ in range(count):
        _, index, event = heap[0]
        yield event
        following = next(streams[index])
        heapq.heapreplace(heap, (following.timestamp, index, following))
