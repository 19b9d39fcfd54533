"""Emission: the emitter, the step context manager and ProcessingStepManager."""

from steptrail.producers.accounting import Accounting, DropReason, FailReason
from steptrail.producers.emit_only import emit_only
from steptrail.producers.emitter import StepEmitter
from steptrail.producers.handle import StepHandle
from steptrail.producers.log import LogLevel
from steptrail.producers.manager import ProcessingStepManager
from steptrail.producers.memory import InMemoryStorage
from steptrail.producers.secrets.patterns import common_secrets, secret_keys
from steptrail.producers.secrets.redaction import Redaction
from steptrail.producers.secrets.redactors import by_key, by_pattern, hashed
from steptrail.producers.steps.active_step import current_step
from steptrail.producers.steps.step_context import StepContext
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
