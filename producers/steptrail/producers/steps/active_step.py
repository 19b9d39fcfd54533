"""The active step of this thread or task."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steptrail.producers.steps.step_context import StepContext

active_step: ContextVar[StepContext | None] = ContextVar("steptrail_active_step", default=None)


def current_step() -> StepContext | None:
    """The innermost active step of this thread or task; None outside any step."""
    return active_step.get()
