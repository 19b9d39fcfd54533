"""Events as they leave the process, redacted."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from steptrail.producers import InMemoryStorage
from steptrail.schemas import ProcessingStatus, StepEvent

common_secrets_module = import_module(
    "steptrail.producers.secrets.patterns"
)  # the package has a function of that name
redaction_budget = import_module("steptrail.producers.secrets.budget")

ERROR = ProcessingStatus.ERROR


def recorded(redact: Any, **values: Any) -> StepEvent:
    """The event of a step that ended in ERROR with these values."""
    storage = InMemoryStorage(redact=redact)
    storage.emit(doc_id="doc", step_name="ocr", status=ERROR, **values)
    [event] = storage.events()
    return event


def details_of(event: StepEvent) -> dict[str, Any]:
    """Its details, read."""
    found = json.loads(event.details)
    assert isinstance(found, dict)
    return found
