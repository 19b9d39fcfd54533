"""The caller's processor time of `add_step` with redaction on against that without, for an ordinary worker's events.

On: the redactors for secret keys and common secrets. One ending in twenty holds a secret and is rewritten; the others
are seen to hold none.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.figure import Figure
from bench.session import Session
from bench.turns import compared, take_turns
from steptrail.producers import ProcessingStepManager, common_secrets, emit_only, secret_keys
from steptrail.schemas import ProcessingStatus

BOUND = 1.35
RUNNING, SUCCESS = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS
DETAILS = {"pages": 12, "language": "en", "title": "Terms and conditions for use"}
METRICS = {"peak_mb": 212.5, "tokens": 1841}
MESSAGE = "postgresql://reader:hunter2@db.internal/documents: connection refused"


def measure(session: Session) -> Figure:
    """With it against without."""
    settings = session.workspace("redaction")
    managers = {
        "plain": ProcessingStepManager(emit_only(settings)),
        "redacting": ProcessingStepManager(emit_only(settings, redact=[secret_keys(), common_secrets()])),
    }
    spent = take_turns(managers, _steps, session.scaled(40))
    return compared("redaction_cost", BOUND, spent["redacting"], spent["plain"], with_a_secret=0.025)


def _steps(manager: ProcessingStepManager, docs: Sequence[str]) -> None:
    for number, doc in enumerate(docs):
        manager.add_step(doc, "ocr", RUNNING)
        if number % 20:
            manager.add_step(doc, "ocr", SUCCESS, details=DETAILS, metrics=METRICS)
        else:
            manager.add_step(doc, "ocr", SUCCESS, details={**DETAILS, "source": MESSAGE}, metrics=METRICS)
