"""Our projector against the engine's own INSERT SELECT of the same rows into a table like `steps`."""

from __future__ import annotations

from bench.figure import Figure
from bench.session import Session

BOUND = 0.2


def measure(session: Session) -> Figure:
    """Ours / the copy in events a second; ours writes the other tables too, and reads from Kafka."""
    race = session.race
    ratio = race.ratio("copy")
    shares = race.share("shares")
    return Figure(
        "projection_vs_engine_copy",
        ratio,
        "ratio",
        f">= {BOUND}",
        ratio >= BOUND,
        {
            "ours_events_per_s": race.median("ours"),
            "copy_events_per_s": race.median("copy"),
            "copy_without_projection_events_per_s": race.median("copy_without_projection"),
            "ratio_to_copy_without_projection": race.ratio("copy_without_projection"),
            "largest_shares": dict(sorted(shares.items(), key=lambda item: -item[1])[:4]),
        },
    )
