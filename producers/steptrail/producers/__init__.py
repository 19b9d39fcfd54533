"""Emission: the emitter, the step context manager and ProcessingStepManager."""

from steptrail.producers.accounting import Accounting, DropReason, FailReason
from steptrail.producers.active_step import current_step
from steptrail.producers.common_secrets import common_secrets, secret_keys
from steptrail.producers.emit_only import emit_only
from steptrail.producers.emitter import StepEmitter
from steptrail.producers.handle import StepHandle
from steptrail.producers.log import LogLevel
from steptrail.producers.manager import ProcessingStepManager
from steptrail.producers.memory import InMemoryStorage
from steptrail.producers.redaction import Redaction
from steptrail.producers.redactors import by_key, by_pattern, hashed
from steptrail.producers.step_context import StepContext
from steptrail.producers.storage import Emitted, NotReadableError, Storage

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
