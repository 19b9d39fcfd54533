"""Emission: the emitter, the step context manager and ProcessingStepManager."""

from .accounting import Accounting, DropReason, FailReason
from .emit_only import emit_only
from .emitter import StepEmitter
from .handle import StepHandle
from .log import LogLevel
from .manager import ProcessingStepManager
from .memory import InMemoryStorage
from .step_context import StepContext, current_step
from .storage import Emitted, NotReadableError, Storage

__all__ = [
    "Accounting",
    "DropReason",
    "Emitted",
    "FailReason",
    "InMemoryStorage",
    "LogLevel",
    "NotReadableError",
    "ProcessingStepManager",
    "StepContext",
    "StepEmitter",
    "StepHandle",
    "Storage",
    "current_step",
    "emit_only",
]
