"""What the first view of the overview brings over the wire, everything, to a browser that has nothing yet."""

from __future__ import annotations

from typing import Any

from bench.figure import Figure
from bench.served import serving
from bench.session import Session
from support.browser import DESK, chromium, opened

BOUND_KB = 150
BOUND_REQUESTS = 12


def measure(session: Session) -> Figure:
    """Kilobytes, headers included; the number of requests beside it."""
    received: list[float] = []
    with serving(session) as served, chromium() as browser, opened(browser, width=DESK) as (context, _):
        page = context.new_page()
        wire = context.new_cdp_session(page)
        wire.send("Network.enable")

        def finished(event: dict[str, Any]) -> None:
            received.append(event["encodedDataLength"])

        wire.on("Network.loadingFinished", finished)
        page.goto(served.url("/", **served.span(6)), wait_until="load")
        page.wait_for_timeout(500)  # a favicon may come last
    kilobytes = sum(received) / 1000
    return Figure(
        "page_weight_kb",
        kilobytes,
        "kB",
        f"<= {BOUND_KB}, in <= {BOUND_REQUESTS} requests",
        kilobytes <= BOUND_KB and len(received) <= BOUND_REQUESTS,
        {"requests": len(received)},
    )
