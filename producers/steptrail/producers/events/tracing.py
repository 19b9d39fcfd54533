"""Reads the active trace id where a step is recorded, if the process uses OpenTelemetry.

steptrail neither requires nor imports OpenTelemetry: a process that did not import it has no trace.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context, ContextVar
from functools import partial
from typing import Any

from steptrail.schemas.foreign import let_through

_get_span: Callable[[], Any] | None = None


def current_trace_id() -> str | None:
    """The active trace's id as 32 hex digits (W3C), or None. Never raises when a tracer fails."""
    try:
        if not context() or _get_span is None:
            return None
        trace_id = _get_span().get_span_context().trace_id
        return f"{trace_id:032x}" if trace_id else None
    except Exception as error:  # the step is recorded whatever the tracer does
        let_through(error)
        return None


def _safe_context() -> Any:
    """Look for OpenTelemetry, until it is imported."""
    global _get_span, context
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    found = sys.modules.get("opentelemetry.context")
    find_span, find_context = getattr(trace, "get_current_span", None), getattr(found, "get_current", None)
    if find_span is None or find_context is None:
        return None
    # Read the usual context variable directly: the two calls that lead to it take three times as long.
    variable = getattr(getattr(found, "_RUNTIME_CONTEXT", None), "_current_context", None)
    _get_span = find_span
    if isinstance(variable, ContextVar):
        context = variable.get if _has_default(variable) else partial(variable.get, None)
        return context()
    try:
        return find_context()
    except Exception as error:
        let_through(error)
        return None


def _has_default(variable: ContextVar[Any]) -> bool:
    try:
        Context().run(variable.get)
    except LookupError:
        return False
    return True


context: Callable[[], Any] = _safe_context
"""The active OpenTelemetry context; false when it is empty or there is none, so that there is no span. Never raises for
a fault of a tracer. Cheaper than `current_trace_id`, so who is called often asks it first.
"""
