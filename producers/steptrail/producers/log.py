"""Logs failed steps through Python's logging, with their context as fields of the record."""

from __future__ import annotations

import logging
import uuid
from enum import IntEnum
from typing import TYPE_CHECKING

from steptrail.producers.events.tracing import current_trace_id
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.schemas.foreign import let_through
from steptrail.schemas.status import ProcessingStatus

if TYPE_CHECKING:
    from steptrail.producers.handle import StepHandle

LOGGER_NAME = "steptrail.steps"
LONGEST = 4096
"""Characters of an id, a name or a message in a log record; the event keeps what its own limits allow."""

_logger = fork_safe_log(LOGGER_NAME)


class LogLevel(IntEnum):
    """The levels of Python's logging, by name."""

    DEBUG = logging.DEBUG
    INFO = logging.INFO
    WARNING = logging.WARNING
    ERROR = logging.ERROR
    CRITICAL = logging.CRITICAL


LEVELS: dict[ProcessingStatus, LogLevel] = {
    ProcessingStatus.WARNING: LogLevel.WARNING,
    ProcessingStatus.ERROR: LogLevel.ERROR,
    ProcessingStatus.FAILED: LogLevel.ERROR,
}
"""At which level each status is logged; the others are not."""


def _bounded(text: str) -> str:
    """The text, or the beginning of a huge one and how much is cut: stored and shipped log lines cost money."""
    left_out = len(text) - LONGEST
    return text if left_out <= 0 else f"{text[:LONGEST]} … and {left_out:,} characters more"


def log_step(
    pipeline: str,
    doc_id: str,
    step_name: str,
    status: ProcessingStatus,
    error_message: str | None,
    handle: StepHandle,
    trace_id: str | None = None,
) -> None:
    """Log one step through `steptrail.steps` if its status is one to log. Never raises.

    The record has the fields pipeline, doc_id, step_name, status, error_message, execution_id, attempt and
    trace_id; texts past LONGEST characters are cut in it.
    """
    level = LEVELS.get(status)
    if level is None or not _logger.isEnabledFor(level):
        return
    try:
        _logger.log(
            level,
            "%s: step %s of document %s%s",
            status.value,
            _bounded(step_name),
            _bounded(doc_id),
            f": {_bounded(error_message)}" if error_message else "",
            extra={
                "pipeline": pipeline,
                "doc_id": _bounded(doc_id),
                "step_name": _bounded(step_name),
                "status": status.value,
                "error_message": None if error_message is None else _bounded(error_message),
                "execution_id": str(uuid.UUID(bytes=handle.execution_id)),
                "attempt": handle.attempt,
                "trace_id": trace_id or current_trace_id(),
            },
        )
    except Exception as error:  # a user's filter or handler must not break a step
        let_through(error)
