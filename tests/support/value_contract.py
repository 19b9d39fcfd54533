"""What every Storage promises of strange values, and of wrong types."""

from __future__ import annotations

import logging
import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from steptrail.producers import ProcessingStepManager, Storage
from steptrail.schemas import ProcessingStatus
from support.contract_fixtures import (
    ERROR,
    RUNNING,
    SUCCESS,
    ContractFixtures,
    settle,
)
from support.strange_values import WORST


class ValueContract(ContractFixtures):
    def test_strange_values_are_kept_marked(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """What JSON or UTF-8 cannot hold is stored in another form, and the mark says so."""
        cycle: dict[str, Any] = {}
        cycle["self"] = cycle
        manager.add_step(
            doc,
            "ocr",
            ERROR,
            {"object": object(), "cycle": cycle, "nul": "a\0b", "surrogate": "\udcff"},
            {"ratio": math.nan, "top": math.inf},
            "lone \ud800 surrogate",
        )
        settle(storage)
        (step,) = manager.get_steps(doc)
        marks = step.details["_steptrail"]
        assert set(marks) == {"details", "metrics", "error_message"}
        assert step.details["nul"] == "a\\x00b"
        assert step.metadata["metrics"]["ratio"] == "nan"
        assert step.error_message is not None
        assert "surrogate" in step.error_message

    def test_strange_names_are_found_again(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """A document id that had to be altered is found by the id as it was given."""
        for strange in (doc + "\0", doc + "\udcfe", doc + "x" * 5000, doc + "x" * 5001, ""):
            manager.add_step(strange, "ocr", SUCCESS, {"given": len(strange)})
        settle(storage)
        for strange in (doc + "\0", doc + "\udcfe", doc + "x" * 5000, doc + "x" * 5001):
            assert [step.details["given"] for step in manager.get_steps(strange)] == [len(strange)]

    def test_long_texts_are_cut(self, manager: ProcessingStepManager, storage: Storage, doc: str) -> None:
        """Two megabytes of error message are stored as far as they fit."""
        manager.add_step(doc, "ocr", ERROR, {"blob": "y" * 2_000_000}, error_message="x" * 2_000_000)
        settle(storage)
        (step,) = manager.get_steps(doc)
        assert step.error_message is not None
        assert 1000 < len(step.error_message) < 100_000
        assert step.details["_steptrail"]["error_message"]["cut"] > 1_000_000

    def test_no_value_is_refused(
        self, manager: ProcessingStepManager, storage: Storage, doc: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The worst of them are events like any other: all are readable, and say what was altered."""
        caplog.set_level(logging.CRITICAL, "steptrail.steps")
        for name, arguments in WORST.items():  # no errors: other tests look for the latest of those
            manager.add_step(doc, name, ProcessingStatus.WARNING, **arguments)
        settle(storage)
        steps = {step.step_name: step for step in manager.get_steps(doc)}
        assert set(steps) == set(WORST)
        assert {steps[name].timestamp.year for name in ("year 1", "year 1800")} == {1900}
        assert steps["year 9999"].timestamp.year == 2262
        assert abs(steps["no time"].timestamp - datetime.now(timezone.utc)) < timedelta(minutes=10)
        for name in ("year 1", "year 1800", "year 9999"):
            assert steps[name].details["_steptrail"]["timestamp"] == {"clamped": 1}
        assert steps["greatest double"].metadata["metrics"]["duration_ms"] == 1.7976931348623157e308
        assert steps["greatest double"].details["_steptrail"]["duration_ms"] == {"clamped": 1}
        assert steps["numpy"].duration_ms == 1.5
        assert steps["great retries"].metadata["attempt"] == 2**31 - 1
        assert steps["negative retries"].metadata["attempt"] == 1

    @pytest.mark.parametrize(
        ("field", "arguments"),
        [
            ("doc_id", {"doc_id": 7}),
            ("step_name", {"step_name": None}),
            ("status", {"status": "DONE"}),
            ("status", {"status": 3}),
            ("details", {"details": ["a"]}),
            ("metrics", {"metrics": 3.5}),
            ("error_message", {"error_message": ValueError("x")}),
            ("timestamp", {"timestamp": "2025-01-01"}),
            ("timestamp", {"timestamp": datetime(2025, 1, 1)}),  # noqa: DTZ001 - that is the point
        ],
    )
    def test_wrong_types_raise_naming_the_argument(
        self, manager: ProcessingStepManager, doc: str, field: str, arguments: dict[str, Any]
    ) -> None:
        """A wrong type, an unknown status and a naive time raise at the caller, and nothing is recorded."""
        given = {"doc_id": doc, "step_name": "ocr", "status": RUNNING, **arguments}
        with pytest.raises((TypeError, ValueError), match=field):
            manager.add_step(**given)
        assert manager.get_steps(doc) == []

    @pytest.mark.parametrize(
        ("field", "arguments"),
        [
            ("status", {"status": "DONE"}),
            ("status", {"status": [SUCCESS, 7]}),
            ("start_time", {"start_time": datetime(2025, 1, 1)}),  # noqa: DTZ001
            ("end_time", {"end_time": 5}),
        ],
    )
    def test_wrong_questions_raise_naming_the_argument(
        self, manager: ProcessingStepManager, doc: str, field: str, arguments: dict[str, Any]
    ) -> None:
        """Reads check their arguments the same way."""
        with pytest.raises((TypeError, ValueError), match=field):
            manager.get_steps(doc, **arguments)
        with pytest.raises(ValueError, match="since"):
            manager.get_recent_errors(datetime(2025, 1, 1))  # noqa: DTZ001
