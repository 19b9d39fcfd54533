"""Pages complete in a real Chromium at ten million events: the overview, what fails now, one document.

From the navigation's start to the end of its load event, as the browser has it; a page is whole then, its panels are
in its first answer. Each page is opened as often, in turns: past what was kept of earlier answers, which is the figure,
and as people open it.
"""

from __future__ import annotations

import statistics

from playwright.sync_api import Page

from bench.figure import Figure, percentile
from bench.served import ANEW, Served, serving
from bench.session import Session
from support.browser import DESK, chromium, opened

BOUNDS_MS = {"overview": 700, "failing": 500, "document": 300}
ROUNDS = 40
_LOADED = (
    "() => { const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd - t.startTime }"
)


def measure(session: Session) -> Figure:
    """The p95 of the overview; those of the others beside it."""
    anew: dict[str, list[float]] = {name: [] for name in BOUNDS_MS}
    plain: dict[str, list[float]] = {name: [] for name in BOUNDS_MS}
    with serving(session) as served, chromium() as browser, opened(browser, width=DESK) as (context, _):
        pages = _pages(served)
        page = context.new_page()
        for number in range(2 + session.scaled(ROUNDS)):
            for times, headers in ((anew, ANEW), (plain, {})):
                context.set_extra_http_headers(headers)
                for name, url in pages.items():
                    took = _open(page, url)
                    if (
                        number >= 2
                    ):  # the first ones open connections and files, and wait for the first numbers
                        times[name].append(took)
    p95 = {name: percentile(values, 0.95) for name, values in anew.items()}
    return Figure(
        "page_p95_ms",
        p95["overview"],
        "ms",
        "; ".join(f"{name} <= {bound}" for name, bound in BOUNDS_MS.items()),
        all(p95[name] <= bound for name, bound in BOUNDS_MS.items()),
        {
            "events": session.store.events * 10,
            "p95_ms": p95,
            "p50_ms": {name: statistics.median(values) for name, values in anew.items()},
            "kept_p95_ms": {name: percentile(values, 0.95) for name, values in plain.items()},
            "rounds": session.scaled(ROUNDS),
        },
    )


def _pages(served: Served) -> dict[str, str]:
    [failing] = served.ask("/failing", limit="1")["items"]
    return {
        "overview": served.url("/", **served.span(6)),
        "failing": served.url("/failing"),
        "document": served.url("/document", pipeline=failing["pipeline"], doc=failing["doc_id"]),
    }


def _open(page: Page, url: str) -> float:
    answer = page.goto(url, wait_until="load")
    assert answer is not None
    assert answer.ok, url
    page.wait_for_function("() => performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
    took: float = page.evaluate(_LOADED)
    return took
