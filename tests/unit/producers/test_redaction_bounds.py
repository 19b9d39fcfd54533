"""Redaction costs a bounded time, and what fails or is slow lets nothing through."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from steptrail.producers import (
    InMemoryStorage,
    Redaction,
    common_secrets,
    secret_keys,
)
from support.redacted import ERROR, common_secrets_module, details_of, recorded, redaction_budget

HOSTILE = ["eyJaaaaa-", "4111 1111 1111 1112 ", "password=a,", "://a:", "a@", "-----BEGIN PRIVATE KEY", "sk-"]


@pytest.mark.parametrize("part", HOSTILE)
def test_what_is_looked_at_is_bounded(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large an event is, the patterns see so many bytes; what they did not see is not sent, marked, counted."""
    seen: list[int] = []
    whole = common_secrets_module.finder

    def counting(pattern: Any, weight: int = 1) -> Any:
        find = whole(pattern, weight)

        def counted(text: str) -> Any:
            seen.append(len(text))
            return find(text)

        counted.work = find.work  # type: ignore[attr-defined]
        return counted

    monkeypatch.setattr(common_secrets_module, "finder", counting)
    redaction = Redaction([secret_keys(), common_secrets()])
    words = " ".join(w for _, words in common_secrets_module._PATTERNS for w in words)
    text = f"hunter2 {words} " + part * 30_000
    event = recorded(
        redaction, details={"texts": [text[:60_000]] * 4}, metrics={"t": text}, error_message=text
    )
    assert sum(seen) <= 1280 * 1024
    marks = details_of(event)["_steptrail"]
    assert marks["details"]["unchecked"] >= 1
    assert redaction.counts.unchecked >= 1
    assert len(event.details) < 250_000


def test_what_is_large_and_plain_is_looked_at_whole() -> None:
    """A large result without a secret goes as it is, and one secret in it is found."""
    page = "Terms and conditions for use of the service, as of 2025. " * 40
    details = {"pages": [f"{page} {number}" for number in range(80)]}
    assert details_of(recorded([secret_keys(), common_secrets()], details=details)) == details
    found = details_of(
        recorded([secret_keys(), common_secrets()], details={**details, "at": "password=hunter2"})
    )
    assert found["at"] == "password=***"
    assert found["pages"] == details["pages"]


def test_own_redactors_share_a_budget_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that took all that an event may cost is not called for its other fields; those are not sent."""
    clock = iter(range(100))
    monkeypatch.setattr(redaction_budget, "thread_time", lambda: float(next(clock)))
    calls = []

    def mine(field: str, value: Any) -> Any:
        calls.append(field)
        return value

    event = recorded(Redaction([mine], timeout_s=0.5), details={"a": 1}, metrics={"b": 2}, error_message="oh")
    assert calls == ["details"]
    assert (event.metrics, event.error_message) == ("{}", None)
    assert details_of(event) == {
        "_steptrail": {field: {"redaction_failed": 1} for field in ("details", "metrics", "error_message")}
    }


def raises(_field: str, _value: Any) -> Any:
    raise RuntimeError("hunter2")


def sleeps(_field: str, value: Any) -> Any:
    time.sleep(0.02)
    return value


def keeps_an_object(field: str, value: Any) -> Any:
    class Holder:
        def __repr__(self) -> str:
            return "hunter2"

    return {"holder": Holder()} if isinstance(value, dict) else Holder()


@pytest.mark.parametrize("bad", [raises, sleeps, keeps_an_object, lambda _f, _v: 7, lambda _f: _f])
def test_fails_closed(bad: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A redactor that raises, takes too long or gives what JSON does not hold costs the fields, not the event."""
    redaction = Redaction([common_secrets(), bad], timeout_s=0.01)
    with caplog.at_level(logging.ERROR):
        event = recorded(
            redaction, details={"p": "hunter2"}, metrics={"p": "hunter2"}, error_message="hunter2"
        )
    assert event.step_name == "ocr"
    assert details_of(event) == {
        "_steptrail": {field: {"redaction_failed": 1} for field in ("details", "metrics", "error_message")}
    }
    assert (event.metrics, event.error_message) == ("{}", None)
    assert (redaction.counts.failed, redaction.counts.redacted) == (3, 0)
    assert "was not sent" in caplog.text
    assert "hunter2" not in caplog.text


def test_who_is_slow_is_left_out_for_a_while() -> None:
    """After it took too long, a callable is not called again at once; the fields it was to see stay behind."""
    calls = []

    def slow(_field: str, value: Any) -> Any:
        calls.append(1)
        time.sleep(0.05)
        return value

    storage = InMemoryStorage(redact=Redaction([slow], timeout_s=0.01))
    for _ in range(5):
        storage.emit(doc_id="doc", step_name="ocr", status=ERROR, details={"secret": "hunter2"})
    assert len(calls) == 1
    assert all("hunter2" not in event.details for event in storage.events())
