"""Processor time from a real Kafka to all tables: our projector against the consumer that everyone writes.

Projector, engine and broker, user and system time, starts and ends included. It depends less on the machine, and on
what else runs on it, than a rate does.
"""

from __future__ import annotations

import statistics

from bench.figure import Figure
from bench.session import Session

BOUND = 0.15


def measure(session: Session) -> Figure:
    """Ours / theirs in processor time an event; the median of the repeats' ratios."""
    race = session.race
    ratios = [sum(lap.cpu_us.values()) / sum(lap.handwritten_cpu_us.values()) for lap in race.laps]
    ratio = statistics.median(ratios)
    return Figure(
        "cpu_vs_handwritten",
        ratio,
        "ratio",
        f"<= {BOUND}",
        ratio <= BOUND,
        {
            "ratios": ratios,
            "ours_us": race.cpu("cpu_us"),
            "handwritten_us": race.cpu("handwritten_cpu_us"),
            "events": race.events,
        },
    )
