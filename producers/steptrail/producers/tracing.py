"""The trace that is active where a step is recorded, if the process traces at all.

OpenTelemetry is neither required nor ever imported by us: a process that did not import it has no trace.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_get_current_span: Callable[[], Any] | None = None
_no_span: object = None


def current_trace_id() -> str | None:
    """The active trace's id as 32 hex digits (W3C), or None. Never raises; below a microsecond."""
    if _get_current_span is None and not _bind():
        return None
    try:
        span = _get_current_span()  # type: ignore[misc]  # bound above
        if span is _no_span:
            return None
        trace_id = span.get_span_context().trace_id
        return f"{trace_id:032x}" if trace_id else None
    except Exception:  # whatever a tracer does wrong, the step is recorded
        return None


def _bind() -> bool:
    global _get_current_span, _no_span
    trace = sys.modules.get("opentelemetry.trace")
    find = getattr(trace, "get_current_span", None)
    if find is None:
        return False
    _no_span = getattr(trace, "INVALID_SPAN", None)
    _get_current_span = find
    return True
