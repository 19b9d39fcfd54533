"""Steps that went wrong, in Python's own logging, with their context as fields of the record."""

from __future__ import annotations

import logging
import uuid
from enum import IntEnum
from typing import TYPE_CHECKING

from steptrail.producers.tracing import current_trace_id
from steptrail.schemas.foreign import let_through
from steptrail.schemas.status import ProcessingStatus

if TYPE_CHECKING:
    from steptrail.producers.handle import StepHandle

LOGGER_NAME = "steptrail.steps"

_logger = logging.getLogger(LOGGER_NAME)


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
    trace_id.
    """
    level = LEVELS.get(status)
    if level is None or not _logger.isEnabledFor(level):
        return
    try:
        _logger.log(
            level,
            "%s: step %s of document %s%s",
            status.value,
            step_name,
            doc_id,
            f": {error_message}" if error_message else "",
            extra={
                "pipeline": pipeline,
                "doc_id": doc_id,
                "step_name": step_name,
                "status": status.value,
                "error_message": error_message,
                "execution_id": str(uuid.UUID(bytes=handle.execution_id)),
                "attempt": handle.attempt,
                "trace_id": trace_id or current_trace_id(),
            },
        )
    except Exception as error:  # a filter or handler of the user's must not break a step
        let_through(error)
