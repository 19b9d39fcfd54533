from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep, RecentError

NOON = datetime(2025, 11, 23, 12, 0, 0, 123456, tzinfo=timezone.utc)


def a_step(**more: Any) -> ProcessingStep:
    return ProcessingStep(
        **{"step_name": "ocr", "status": ProcessingStatus.SUCCESS, "timestamp": NOON, **more}
    )


def test_only_name_and_status_are_needed() -> None:
    """Details and metadata are empty and the time is now, in UTC, unless said."""
    before = datetime.now(timezone.utc)
    step = ProcessingStep("ocr", "RUNNING")
    assert step.status is ProcessingStatus.RUNNING
    assert step.details == {}
    assert step.metadata == {}
    assert before <= step.timestamp <= datetime.now(timezone.utc)
    assert step.timestamp.utcoffset() == timedelta(0)


def test_a_step_is_given_by_position_or_by_keyword() -> None:
    """The five fields keep their order and their names."""
    by_position = ProcessingStep("ocr", ProcessingStatus.SUCCESS, {"a": 1}, {"b": 2}, NOON)
    assert by_position == a_step(details={"a": 1}, metadata={"b": 2})


def test_to_dict_is_ready_for_json() -> None:
    """The status is its name, the time ISO text; nothing is shared with the step."""
    step = a_step(details={"pages": [1, 2]})
    data = step.to_dict()
    assert data == {
        "step_name": "ocr",
        "status": "SUCCESS",
        "details": {"pages": [1, 2]},
        "metadata": {},
        "timestamp": "2025-11-23T12:00:00.123456+00:00",
    }
    data["details"]["pages"].append(3)
    assert step.details == {"pages": [1, 2]}


def test_to_dict_writes_out_what_json_cannot_hold() -> None:
    """Other types become their repr, non-finite numbers their name, keys text."""
    step = a_step(details={"raw": b"\xff", "ratio": float("nan"), "by_page": {1: (1, 2)}})
    assert step.to_dict()["details"] == {"raw": "b'\\xff'", "ratio": "nan", "by_page": {"1": [1, 2]}}


def test_other_time_zones_become_utc() -> None:
    """An aware time keeps its instant and is held in UTC."""
    berlin = timezone(timedelta(hours=1))
    step = a_step(timestamp=datetime(2025, 11, 23, 13, tzinfo=berlin))
    assert step.timestamp == datetime(2025, 11, 23, 12, tzinfo=timezone.utc)
    assert step.timestamp.tzinfo is timezone.utc


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("timestamp", datetime(2025, 11, 23), "naive"),  # noqa: DTZ001  that is the point
        ("timestamp", "2025-11-23T12:00:00", "naive"),
        ("timestamp", 1_763_900_000, "not int"),
        ("timestamp", datetime.min.replace(tzinfo=timezone(timedelta(hours=3))), "years 1 to 9999"),
        ("timestamp", "soon", "timestamp"),
        ("status", "success", "SUCCESS"),
        ("status", None, "status"),
        ("step_name", 7, "step_name"),
        ("step_name", b"ocr", "step_name"),
        ("details", ["a"], "details"),
        ("details", None, "details"),
        ("metadata", "a", "metadata"),
    ],
)
def test_bad_values_are_refused_with_the_fields_name(field: str, value: object, told: str) -> None:
    """A wrong type, an unknown status or a naive time raises a ValueError that names the field."""
    with pytest.raises(ValidationError, match=field) as caught:
        ProcessingStep.from_dict({**a_step().to_dict(), field: value})
    assert told in str(caught.value)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ValidationError, match=field):
        a_step(**{field: value})


def test_unknown_and_missing_keys_are_refused_by_name() -> None:
    """A key too many or too few raises a ValueError that names it."""
    data = a_step().to_dict()
    with pytest.raises(ValidationError, match="stauts"):
        ProcessingStep.from_dict({**data, "stauts": "SUCCESS"})
    del data["status"]
    with pytest.raises(ValidationError, match="status"):
        ProcessingStep.from_dict(data)
    with pytest.raises(TypeError, match="mapping, not list"):
        ProcessingStep.from_dict([])  # type: ignore[arg-type]


def test_a_field_that_is_set_is_checked_too() -> None:
    """A naive time cannot get in by assignment either."""
    step = a_step()
    with pytest.raises(ValidationError, match="naive"):
        step.timestamp = datetime(2025, 11, 23)  # noqa: DTZ001  that is the point
    assert step.timestamp == NOON


@pytest.mark.parametrize(
    ("metadata", "duration"),
    [
        ({"metrics": {"duration_ms": 12.5}}, 12.5),
        ({"metrics": {"duration_ms": 12}}, 12.0),
        ({"metrics": {"duration_ms": "12"}}, None),
        ({"metrics": {"duration_ms": True}}, None),
        ({"metrics": {"duration_ms": 10**400}}, None),
        ({"metrics": None}, None),
        ({}, None),
    ],
)
def test_duration_comes_from_the_metrics(metadata: dict[str, Any], duration: float | None) -> None:
    """The duration is the metric's number, None where there is none."""
    assert a_step(metadata=metadata).duration_ms == duration


def test_error_message_comes_from_the_metadata() -> None:
    """The message is the metadata's text, None where there is none."""
    assert a_step(metadata={"error_message": "no space"}).error_message == "no space"
    assert a_step(metadata={"error_message": None}).error_message is None
    assert a_step().error_message is None


def test_states() -> None:
    """PENDING and RUNNING go on; ERROR and FAILED are errors."""
    steps = [ProcessingStep("ocr", status) for status in ProcessingStatus]
    assert [step.status.name for step in steps if not step.is_terminal_state()] == ["PENDING", "RUNNING"]
    assert [step.status.name for step in steps if step.is_error_state()] == ["ERROR", "FAILED"]


def test_a_recent_error_is_a_step_that_says_its_document() -> None:
    """RecentError adds doc_id to a ProcessingStep, in the model and in its dict."""
    error = RecentError(doc_id="d1", step_name="ocr", status=ProcessingStatus.ERROR, timestamp=NOON)
    assert isinstance(error, ProcessingStep)
    assert error.to_dict()["doc_id"] == "d1"
    assert RecentError.from_dict(error.to_dict()) == error
    with pytest.raises(ValidationError, match="doc_id"):
        RecentError.from_dict(a_step().to_dict())
