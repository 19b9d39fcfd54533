"""The step that runs here, in this thread or task."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steptrail.producers.steps.step_context import StepContext

active_step: ContextVar[StepContext | None] = ContextVar("steptrail_active_step", default=None)


def current_step() -> StepContext | None:
    """The innermost step that runs here, in this thread or task; None outside of any."""
    return active_step.get()
