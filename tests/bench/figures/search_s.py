"""Looking for a part of an error's message in a day, by the API, among ten million events."""

from __future__ import annotations

import statistics
import time

from bench.figure import Figure
from bench.served import serving
from bench.session import Session

BOUND_S = 1.0
TEXTS = ("no space left", "connection", "xref", "timed out", "nowhere to be found")


def measure(session: Session) -> Figure:
    """The slowest of some texts: common, rare and absent ones."""
    took: dict[str, list[float]] = {text: [] for text in TEXTS}
    hits: dict[str, int] = {}
    with serving(session) as served:
        for _ in range(1 + session.scaled(10)):
            for text in TEXTS:
                started = time.perf_counter()
                answer = served.ask_anew("/search", q=text, **served.span(24))
                took[text].append(time.perf_counter() - started)
                hits[text] = len(answer["items"])
    worst = {text: max(values[1:]) for text, values in took.items()}
    return Figure(
        "search_s",
        max(worst.values()),
        "s",
        f"<= {BOUND_S:g}",
        max(worst.values()) <= BOUND_S,
        {
            "events": session.store.events * 10,
            "hits": hits,
            "p50_s": {text: statistics.median(values[1:]) for text, values in took.items()},
        },
    )
