"""Measuring a figure and printing its line: what `make bench` and `make bench-scale` have in common."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from typing import Any

from bench.figure import Figure
from bench.session import Session


def report(session: Session, name: str, measure: Callable[[], Figure], **more: Any) -> Figure | None:
    """Measure and print one JSON line, with `more` in it. None, and why on standard error, where that failed."""
    started = time.monotonic()
    try:
        figure = measure()
    except Exception:
        session.say(f"{name} could not be measured:\n{traceback.format_exc()}")
        return None
    line = {**figure.as_line(time.monotonic() - started), **more}
    if session.quick:
        line["quick"] = True
    print(json.dumps(line), flush=True)
    if not figure.ok:
        session.say(f"{name} misses: {line['value']} {figure.unit}, asked is {figure.bound}")
    return figure
