"""From a real Kafka to all tables: our projector against the consumer that everyone writes (`bench.peers`)."""

from __future__ import annotations

from bench.figure import Figure
from bench.session import Session

BOUND = 5.0


def measure(session: Session) -> Figure:
    """Ours / theirs in events a second; `shares` says where our time goes."""
    race = session.race
    ratio = race.ratio("handwritten")
    return Figure(
        "projection_vs_handwritten",
        ratio,
        "ratio",
        f">= {BOUND}",
        ratio >= BOUND,
        {
            "ours_events_per_s": race.median("ours"),
            "handwritten_events_per_s": race.median("handwritten"),
            "ratios": [lap.ours / lap.handwritten for lap in race.laps],
            "shares_of_wall_time": race.share("shares"),
            "shares_of_cpu_time": race.share("cpu_shares"),
            "handwritten_insert_share": race.laps[0].handwritten_told["insert_share"],
            "events": race.events,
            "batches": race.laps[0].told["batches"],
        },
    )
