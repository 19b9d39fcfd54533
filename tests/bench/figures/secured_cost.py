"""From three Kafka brokers to all tables over SASL_SSL against plain text, the same events from the same brokers.

The brokers run with the compiler of production: what encryption costs depends on it. Each repeat runs both, in turns
first and second, each in a topic and tables of its own.
"""

from __future__ import annotations

import statistics

from bench.clustered import forget, over, project, secured_workspace
from bench.figure import Figure
from bench.race import EVENTS
from bench.session import Session
from bench.topic import encoded, fill
from support.cluster.cluster import kafka_cluster

BOUND = 0.8
LAPS = 5


def measure(session: Session) -> Figure:
    """Median over the repeats of the rate over SASL_SSL / the rate over plain text."""
    events = session.scaled(EVENTS)
    messages = encoded(events)
    rates: dict[str, list[float]] = {"scram": [], "plain": []}
    with kafka_cluster(full_compiler=True) as cluster:
        for lap in range(1 if session.quick else LAPS):
            for listener in sorted(rates, reverse=lap % 2 == 1):
                settings = secured_workspace(session, cluster, f"bench_{listener}_{lap}")
                fill(settings, messages)
                told = project(over(settings, cluster, listener), events)
                rates[listener].append(events / told["seconds"])
                forget(cluster, settings)
    ratios = [secured / plain for secured, plain in zip(rates["scram"], rates["plain"], strict=True)]
    ratio = statistics.median(ratios)
    return Figure(
        "secured_cost",
        ratio,
        "ratio",
        f">= {BOUND}",
        ratio >= BOUND,
        {
            "sasl_ssl_events_per_s": statistics.median(rates["scram"]),
            "plain_text_events_per_s": statistics.median(rates["plain"]),
            "ratios": ratios,
            "events": events,
        },
    )
