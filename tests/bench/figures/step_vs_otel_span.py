"""Caller's time of a whole step (RUNNING and its ending, two add_step calls) against one OpenTelemetry span.

Both record the same: a name, a beginning, an end and four values. The span goes to a batch processor with an
exporter that does nothing, so OpenTelemetry pays for no network; ours go to a real Kafka. The rounds take turns;
what is in the queues is flushed between them, outside the time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from bench.figure import Figure, percentile
from bench.session import Session
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.schemas import ProcessingStatus

BOUND = 0.45
ROUND = 1000  # below the batch processor's queue of 2,048: it must not save time by dropping
RUNNING, SUCCESS = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS


class NoExport(SpanExporter):
    """Takes spans and does nothing with them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def measure(session: Session) -> Figure:
    """Median of the rounds' ratios."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(NoExport()))
    tracer = provider.get_tracer("bench")
    manager = ProcessingStepManager(emit_only(session.workspace("otel")))

    ours: list[float] = []
    theirs: list[float] = []
    for index in range(2 + session.scaled(60)):
        docs = [f"invoices/2025/03/INV-{index * ROUND + n:07d}.pdf" for n in range(ROUND)]
        spent_ours = add_steps(manager, docs)
        manager.flush(10)
        spent_theirs = spans(tracer, docs)
        provider.force_flush()
        if index >= 2:  # the first two warm up
            ours.append(spent_ours / ROUND * 1e6)
            theirs.append(spent_theirs / ROUND * 1e6)
    manager.close()
    provider.shutdown()

    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Figure(
        "step_vs_otel_span",
        ratio,
        "ratio",
        f"<= {BOUND}",
        ratio <= BOUND,
        {
            "step_us": statistics.median(ours),
            "step_us_p90_of_rounds": percentile(ours, 0.9),
            "span_us": statistics.median(theirs),
            "span_us_p90_of_rounds": percentile(theirs, 0.9),
            "rounds": len(ours),
            "steps_per_round": ROUND,
        },
    )


def add_steps(manager: ProcessingStepManager, docs: list[str]) -> float:
    """A step of each document by two calls of `add_step`; the seconds that took."""
    started = time.perf_counter()
    for doc in docs:
        manager.add_step(doc, "ocr", RUNNING)
        manager.add_step(
            doc, "ocr", SUCCESS, details={"pages": 12, "language": "en"}, metrics={"peak_mb": 212.5}
        )
    return time.perf_counter() - started


def spans(tracer: object, docs: list[str]) -> float:
    """A span for each document; the seconds that took."""
    from opentelemetry.trace import Tracer

    assert isinstance(tracer, Tracer)
    started = time.perf_counter()
    for doc in docs:
        with tracer.start_as_current_span("ocr") as span:
            span.set_attribute("doc_id", doc)
            span.set_attribute("pages", 12)
            span.set_attribute("language", "en")
            span.set_attribute("peak_mb", 212.5)
    return time.perf_counter() - started
