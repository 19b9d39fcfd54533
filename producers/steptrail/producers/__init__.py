"""Emission: the emitter, the step context manager and ProcessingStepManager."""

from .accounting import Accounting, DropReason, FailReason
from .common_secrets import common_secrets, secret_keys
from .emit_only import emit_only
from .emitter import StepEmitter
from .handle import StepHandle
from .log import LogLevel
from .manager import ProcessingStepManager
from .memory import InMemoryStorage
from .redaction import Redaction
from .redactors import by_key, by_pattern, hashed
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
    "Redaction",
    "StepContext",
    "StepEmitter",
    "StepHandle",
    "Storage",
    "by_key",
    "by_pattern",
    "common_secrets",
    "current_step",
    "emit_only",
    "hashed",
    "secret_keys",
]
