"""From a real Kafka to all tables with one message in a hundred no event, against the same events alone.

The bad ones are of every kind of the fault matrix, spread evenly, also those that one parser takes and another does
not; each ends in the dead-letter topic, and all of the good ones in the tables. Each repeat runs both, in turns first
and second, each in a topic and tables of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bench.figure import Figure
from bench.race import EVENTS, run_projector
from bench.session import Session
from bench.topic import Message, encoded
from faults.poisoning import KEY, KINDS, make

BOUND = 0.5
LAPS = 5
ONE_IN = 100


def measure(session: Session) -> Figure:
    """Median over the repeats of the good events a second with poison / without."""
    events = session.scaled(EVENTS)
    clean = encoded(events)
    poisoned = list(_poisoned(clean))
    rates: dict[str, list[float]] = {"clean": [], "poisoned": []}
    cpu_us: dict[str, list[float]] = {"clean": [], "poisoned": []}
    for lap in range(1 if session.quick else LAPS):
        for name in sorted(rates, reverse=lap % 2 == 1):
            messages = clean if name == "clean" else poisoned
            told = run_projector(session, messages, events=events, dead_letters=len(messages) - events)
            rates[name].append(events / told["seconds"])
            cpu_us[name].append(told["cpu_us"])
    ratios = [bad / good for bad, good in zip(rates["poisoned"], rates["clean"], strict=True)]
    ratio = statistics.median(ratios)
    return Figure(
        "poison_cost",
        ratio,
        "ratio",
        f">= {BOUND}",
        ratio >= BOUND,
        {
            "clean_events_per_s": statistics.median(rates["clean"]),
            "poisoned_events_per_s": statistics.median(rates["poisoned"]),
            "ratios": ratios,
            "clean_cpu_us": statistics.median(cpu_us["clean"]),
            "poisoned_cpu_us": statistics.median(cpu_us["poisoned"]),
            "events": events,
            "poison": len(poisoned) - events,
            "kinds": len(KINDS),
        },
    )


def _poisoned(messages: Sequence[Message]) -> Iterator[Message]:
    kinds = list(KINDS)
    for number, message in enumerate(messages):
        if number % ONE_IN == ONE_IN // 2:
            kind = kinds[number // ONE_IN % len(kinds)]
            yield KEY + b"%d" % number, make(kind, number)
        yield message
