"""The projector's peak of resident memory at full speed; the engine's server is a process of its own."""

from __future__ import annotations

from bench.figure import Figure
from bench.session import Session

BOUND_MB = 400


def measure(session: Session) -> Figure:
    """The greatest of all repeats."""
    peaks = [lap.told["peak_rss_mb"] for lap in session.race.laps]
    return Figure(
        "projector_peak_rss_mb",
        max(peaks),
        "MB",
        f"<= {BOUND_MB}",
        max(peaks) <= BOUND_MB,
        {"peaks": peaks, "events": session.race.events},
    )
