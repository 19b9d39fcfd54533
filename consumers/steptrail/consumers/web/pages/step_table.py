"""Steps as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from steptrail.consumers.web.models.work import StepRow
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.words import duration, percent
from steptrail.schemas.figures import figure


def step_rows(page: Page, steps: Sequence[StepRow]) -> list[dict[str, Any]]:
    """What the tables of the overview and of all steps show."""
    return [_row(page, step) for step in steps]


def _row(page: Page, step: StepRow) -> dict[str, Any]:
    state, word = step_state(step)
    return {
        "key": f"{step.pipeline}\x1f{step.step_name}",
        "href": page.step_href(step.pipeline, step.step_name),
        "pipeline": step.pipeline,
        "step_name": step.step_name,
        "state": state,
        "state_word": word,
        "ended": f"{step.ended:,}",
        "per_minute": figure(step.per_minute),
        "errors": percent(step.error_ratio),
        "p50": duration(step.p50_ms),
        "p95": duration(step.p95_ms),
        "p99": duration(step.p99_ms),
        "in_progress": f"{step.running + step.queued:,}" if step.running + step.queued else "",
        "last_error": step.last_error or "",
        "last_error_at": step.last_error_at,
    }


def step_state(step: StepRow) -> tuple[str, str]:
    """(status, word) that a step is shown with: stuck work before a verdict that is well."""
    if step.stalled and step.health not in ("CRITICAL", "WARNING"):
        return "STALLED", f"{step.stalled} stuck"
    if step.health == "UNKNOWN" and step.sentence is None:
        return "UNKNOWN", "not judged"
    return step.health, step.health
