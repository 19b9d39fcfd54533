"""From a real Kafka to all tables with the ledger against the same projector without it, on the same events.

Without: the batch is staged, validated and inserted, and that is all (`bench.unledgered`). Each repeat runs both, in
turns first and second, each in a topic and tables of its own.
"""

from __future__ import annotations

import statistics

from bench.figure import Figure
from bench.race import EVENTS, run_projector
from bench.session import Session
from bench.topic import encoded

BOUND = 0.85
LAPS = 7


def measure(session: Session) -> Figure:
    """Median over the repeats of the rate with / the rate without."""
    events = session.scaled(EVENTS)
    messages = encoded(events)
    rates: dict[str, list[float]] = {"with": [], "without": []}
    for lap in range(1 if session.quick else LAPS):
        for name in sorted(rates, reverse=lap % 2 == 1):
            module = "bench.ours" if name == "with" else "bench.unledgered"
            rates[name].append(events / run_projector(session, messages, module=module)["seconds"])
    ratios = [on / off for on, off in zip(rates["with"], rates["without"], strict=True)]
    ratio = statistics.median(ratios)
    return Figure(
        "ledger_cost",
        ratio,
        "ratio",
        f">= {BOUND}",
        ratio >= BOUND,
        {
            "with_events_per_s": statistics.median(rates["with"]),
            "without_events_per_s": statistics.median(rates["without"]),
            "ratios": ratios,
            "events": events,
        },
    )
