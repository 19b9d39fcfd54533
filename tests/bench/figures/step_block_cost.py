"""Caller's time of `with manager.step()` against two `add_step` calls that record the same, and against one span.

The three take turns in one run; what is in the queues is flushed between them, outside the time.
"""

from __future__ import annotations

import statistics
import time

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from bench.figure import Figure
from bench.figures.step_vs_otel_span import ROUND, NoExport, add_steps, spans
from bench.session import Session
from steptrail.producers import ProcessingStepManager, emit_only

BOUND = 1.3
SPAN_BOUND = 0.6


def measure(session: Session) -> Figure:
    """Medians of the rounds' ratios."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(NoExport()))
    tracer = provider.get_tracer("bench")
    manager = ProcessingStepManager(emit_only(session.workspace("step_block")))

    spent: dict[str, list[float]] = {"block": [], "calls": [], "span": []}
    for index in range(2 + session.scaled(60)):
        docs = [f"invoices/2025/03/INV-{index * ROUND + n:07d}.pdf" for n in range(ROUND)]
        for name in sorted(spent, reverse=index % 2 == 0):
            if name == "span":
                took = spans(tracer, docs)
                provider.force_flush()
            else:
                took = (_blocks if name == "block" else add_steps)(manager, docs)
                manager.flush(10)
            if index >= 2:  # the first two warm up
                spent[name].append(took / ROUND * 1e6)
    manager.close()
    provider.shutdown()

    ratio = statistics.median(a / b for a, b in zip(spent["block"], spent["calls"], strict=True))
    span_ratio = statistics.median(a / b for a, b in zip(spent["block"], spent["span"], strict=True))
    return Figure(
        "step_block_cost",
        ratio,
        "ratio",
        f"<= {BOUND}; <= {SPAN_BOUND} of a span",
        ratio <= BOUND and span_ratio <= SPAN_BOUND,
        {
            "vs_otel_span": span_ratio,
            "block_us": statistics.median(spent["block"]),
            "two_add_steps_us": statistics.median(spent["calls"]),
            "span_us": statistics.median(spent["span"]),
            "rounds": len(spent["block"]),
            "steps_per_round": ROUND,
        },
    )


def _blocks(manager: ProcessingStepManager, docs: list[str]) -> float:
    started = time.perf_counter()
    for doc in docs:
        with manager.step(doc, "ocr") as step:
            step.details["pages"] = 12
            step.details["language"] = "en"
            step.metrics["peak_mb"] = 212.5
    return time.perf_counter() - started
