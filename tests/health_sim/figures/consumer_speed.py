"""The health consumer's speed, with judging, minutes and error groups, against the projector's, on the same events."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from bench import topic
from bench.figure import Figure
from bench.race import run_projector
from bench.session import Session
from health_sim.simulation import Simulation

BOUND = 1.0
EVENTS = 500_000
LAPS = 3


def measure(simulation: Simulation) -> list[Figure]:
    """Median over the repeats of its rate / the projector's; each alone on a topic and tables of its own."""
    messages = topic.encoded(EVENTS)
    rates: dict[str, list[float]] = {"projector": [], "health": []}
    told: list[dict[str, Any]] = []
    with Session(quick=False) as session:
        for lap in range(LAPS):
            for name in sorted(rates, reverse=lap % 2 == 1):
                done = run_projector(session, messages) if name == "projector" else _judge(session, messages)
                rates[name].append(EVENTS / done["seconds"])
                if name == "health":
                    told.append(done)
    ratio = statistics.median(
        ours / other for ours, other in zip(rates["health"], rates["projector"], strict=True)
    )
    detail = {
        "health_events_per_s": statistics.median(rates["health"]),
        "projector_events_per_s": statistics.median(rates["projector"]),
        "events_per_s": rates,
        "events": EVENTS,
        "share_of_the_time_in_which_it_counted": statistics.median(lap["counting_share"] for lap in told),
        "all_counted_after_s": statistics.median(lap["counted_s"] - lap["seconds"] for lap in told),
        "peak_rss_mb": max(lap["peak_rss_mb"] for lap in told),
    }
    return [Figure("health_consumer_vs_projector", ratio, "ratio", f">= {BOUND}", ratio >= BOUND, detail)]


def _judge(session: Session, messages: Any) -> dict[str, Any]:
    settings = session.workspace("health")
    topic.fill(settings, messages)
    done = subprocess.run(
        [sys.executable, "-m", "health_sim.timed_health", str(EVENTS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=session.environment(settings),
    )
    session.forget(settings)
    if done.returncode != 0:
        raise RuntimeError(f"the health consumer ended with {done.returncode}: {done.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if told["events"] != EVENTS:
        raise RuntimeError(f"the health consumer read {told['events']} of {EVENTS} events")
    return told
