"""Conversions between verdicts, rows of ClickHouse and messages of the health topic."""

from __future__ import annotations

from typing import Any, Final

import orjson

from steptrail.consumers.health.rules.slots import SLOT_S, StepKey
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding, Verdict
from steptrail.consumers.health.verdict_topic import Key
from steptrail.projections.stores.health_store import VerdictRow

OVERALL: Final[Key] = ("", "")
"""The key of the verdict about everything."""


def key_of(verdict: Verdict) -> Key:
    """The verdict's key on the topic and in the table."""
    return verdict.pipeline or "", verdict.step or ""


def row_of(verdict: Verdict, slot: int) -> VerdictRow:
    """The row of a verdict that `slot` produced."""
    findings = orjson.dumps([finding.as_dict() for finding in verdict.findings]).decode()
    return VerdictRow(
        *key_of(verdict), slot, verdict.status.value, verdict.since, verdict.at, verdict.sentence, findings
    )


def gone_row(key: StepKey, slot: int) -> VerdictRow:
    """The row of a step that is no longer watched since `slot`."""
    at = float(slot + 1) * SLOT_S
    return VerdictRow(
        *key, slot, "UNKNOWN", at, at, "not heard of for so long that it is not watched", "[]", True
    )


def message_of(verdict: Verdict, slot: int | None) -> dict[str, Any]:
    """The message of a verdict that `slot` produced."""
    return {**verdict.as_dict(), "slot": slot}


def slot_of(told: dict[str, Any]) -> int:
    """The slot of a message; -1 if it has none."""
    slot = told.get("slot")
    return slot if isinstance(slot, int) else -1


def is_news(told: dict[str, Any], shown: dict[str, Any] | None, reached: int) -> bool:
    """Whether a message is not yet on the topic, which has everything before slot `reached` and part of that slot."""
    slot = slot_of(told)
    return slot > reached or (slot == reached and (shown is None or slot_of(shown) < slot))


def verdict_in(told: dict[str, Any]) -> Verdict:
    """The overall verdict in a message, with as many findings as its sentence needs."""
    status = HealthStatus(told["status"])
    findings = (Finding("parts", status, told["sentence"]),) if told["findings"] else ()
    return Verdict(None, None, status, told["since"], told["at"], findings)


def is_blind(told: dict[str, Any]) -> bool:
    """Whether a message is UNKNOWN because of blindness."""
    return any(finding.get("rule") == "sight" for finding in told.get("findings", ()))
