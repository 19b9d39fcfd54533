from __future__ import annotations

import asyncio
from typing import Any

import pytest

from steptrail.producers import InMemoryStorage, ProcessingStepManager, StepHandle, current_step
from steptrail.schemas import ProcessingStatus, ProcessingStep


class CorruptDocument(Exception):
    pass


@pytest.fixture
def manager() -> ProcessingStepManager:
    return ProcessingStepManager(InMemoryStorage())


def statuses(manager: ProcessingStepManager, doc_id: str = "d") -> list[str]:
    return [step.status.value for step in manager.get_steps(doc_id)]


def ending(manager: ProcessingStepManager, doc_id: str = "d") -> ProcessingStep:
    return manager.get_steps(doc_id)[-1]


def test_records_beginning_and_ending(manager: ProcessingStepManager) -> None:
    """A step is RUNNING, then SUCCESS with its results, of one execution, with its time measured."""
    with manager.step("d", "ocr", details={"engine": "tesseract"}) as step:
        assert statuses(manager) == ["RUNNING"]
        step.details["pages"] = 3
        step.metric("memory_mb", 80)
    begun, ended = manager.get_steps("d")
    assert begun.details == {"engine": "tesseract"}
    assert ended.status is ProcessingStatus.SUCCESS
    assert ended.details == {"engine": "tesseract", "pages": 3}
    assert ended.metadata["metrics"]["memory_mb"] == 80
    assert ended.duration_ms is not None
    assert begun.metadata["execution_id"] == ended.metadata["execution_id"]


def test_a_duration_that_is_set_is_kept(manager: ProcessingStepManager) -> None:
    """A duration_ms that the step measured itself wins."""
    with manager.step("d", "ocr") as step:
        step.metric("duration_ms", 7.5)
    assert ending(manager).duration_ms == 7.5


def test_an_exception_is_recorded_and_raised_on(manager: ProcessingStepManager) -> None:
    """An exception ends the step as ERROR with its type and message, and reaches the caller."""

    def work() -> None:
        with manager.step("d", "ocr") as step:
            step.details["read"] = 10
            raise CorruptDocument("no pages")

    with pytest.raises(CorruptDocument, match="no pages"):
        work()
    ended = ending(manager)
    assert ended.status is ProcessingStatus.ERROR
    assert ended.error_message == "no pages"
    assert ended.metadata["error_type"].endswith("test_step_context.CorruptDocument")
    assert ended.details == {"read": 10}


def test_fatal_exceptions_are_failed(manager: ProcessingStepManager) -> None:
    """Exceptions of `fatal` types end the step as FAILED; Python's own are named without their module."""
    with (
        pytest.raises(UnicodeDecodeError),
        manager.step("d", "decode", fatal=(CorruptDocument, UnicodeError)),
    ):
        b"\xff".decode()
    ended = ending(manager)
    assert ended.status is ProcessingStatus.FAILED
    assert ended.metadata["error_type"] == "UnicodeDecodeError"


def test_an_exception_without_a_text_that_works(manager: ProcessingStepManager) -> None:
    """A faulty __str__ does not replace the error."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with pytest.raises(Mute), manager.step("d", "ocr"):
        raise Mute
    assert ending(manager).error_message == ""


def test_skip_warn_and_fail(manager: ProcessingStepManager) -> None:
    """A step can end itself in another way than SUCCESS."""
    with manager.step("skipped", "ocr") as step:
        step.skip("too large")
    with manager.step("warned", "ocr") as step:
        step.warn("low contrast")
    with manager.step("failed", "ocr") as step:
        step.fail("no text at all")
    with manager.step("retryable", "ocr") as step:
        step.fail("locked", final=False)
    assert ending(manager, "skipped").details == {"skip_reason": "too large"}
    assert [statuses(manager, doc)[-1] for doc in ("skipped", "warned", "failed", "retryable")] == [
        "SKIPPED",
        "WARNING",
        "FAILED",
        "ERROR",
    ]
    assert ending(manager, "warned").error_message == "low contrast"


def test_an_exception_outweighs_a_skip(manager: ProcessingStepManager) -> None:
    """Work that was skipped and then raised is an error."""

    def work() -> None:
        with manager.step("d", "ocr") as step:
            step.skip()
            raise CorruptDocument

    with pytest.raises(CorruptDocument):
        work()
    assert ending(manager).status is ProcessingStatus.ERROR


def test_thresholds_make_warnings(manager: ProcessingStepManager) -> None:
    """A duration or a metric above its threshold ends the step as WARNING, and details say which."""
    with manager.step("d", "ocr", warn_after_ms=10, thresholds={"memory_mb": 512, "pages": 3}) as step:
        step.metric("memory_mb", 513)
        step.metric("pages", 3)
        step.metric("duration_ms", 11.5)
    ended = ending(manager)
    assert ended.status is ProcessingStatus.WARNING
    assert ended.details["thresholds_passed"] == {
        "memory_mb": {"value": 513, "threshold": 512},
        "duration_ms": {"value": 11.5, "threshold": 10},
    }


def test_thresholds_do_not_hide_worse(manager: ProcessingStepManager) -> None:
    """A step that failed stays failed, whatever it passed; one below its thresholds is SUCCESS."""
    with manager.step("bad", "ocr", warn_after_ms=1) as step:
        step.metric("duration_ms", 5)
        step.fail("no")
    with manager.step("good", "ocr", warn_after_ms=5, thresholds={"memory_mb": 1}) as step:
        step.metric("duration_ms", 5)
        step.metric("memory_mb", float("nan"))
    assert statuses(manager, "bad")[-1] == "FAILED"
    assert statuses(manager, "good")[-1] == "SUCCESS"


def test_nested_steps(manager: ProcessingStepManager) -> None:
    """Steps nest, also of one name; each keeps its own execution, and `current_step` is the innermost."""
    assert current_step() is None
    with manager.step("d", "all") as outer:
        with manager.step("d", "part") as inner:
            assert current_step() is inner
        with manager.step("d", "all") as same:
            pass
        assert current_step() is outer
    assert current_step() is None
    runs = [
        (step.step_name, step.status.value, step.metadata["execution_id"]) for step in manager.get_steps("d")
    ]
    assert [(name, status) for name, status, _ in runs] == [
        ("all", "RUNNING"),
        ("part", "RUNNING"),
        ("part", "SUCCESS"),
        ("all", "RUNNING"),
        ("all", "SUCCESS"),
        ("all", "SUCCESS"),
    ]
    assert runs[0][2] == runs[5][2]
    assert runs[3][2] == runs[4][2] != runs[0][2]
    assert (outer.attempt, same.attempt) == (1, 2)


def test_one_object_can_run_again_but_not_twice_at_once(manager: ProcessingStepManager) -> None:
    """The same step object records one run after the other, each fresh, and refuses to overlap itself."""
    step = manager.step("d", "ocr", details={"a": 1})
    for _ in range(2):
        with step:
            step.details["b"] = 2
            with pytest.raises(RuntimeError, match="already runs"):
                step.__enter__()
    assert [found.details for found in manager.get_steps("d")] == [{"a": 1}, {"a": 1, "b": 2}] * 2
    assert [found.metadata["attempt"] for found in manager.get_steps("d")] == [1, 1, 2, 2]


def test_the_handle_names_the_run(manager: ProcessingStepManager) -> None:
    """Within the step its handle can be passed on; before, there is none."""
    step = manager.step("d", "ocr")
    with pytest.raises(RuntimeError, match="not begun"):
        _ = step.handle
    with step:
        passed_on = StepHandle.from_dict(step.handle.to_dict())
    assert passed_on == step.handle


def test_decorates_functions(manager: ProcessingStepManager) -> None:
    """Each call of a decorated function is a step; its name is the default, its arguments give the document."""

    @manager.step(doc_id=lambda path, **_: f"doc of {path}")
    def read(path: str, *, strict: bool = False) -> int:
        """Reads."""
        step = current_step()
        assert step is not None
        step.metric("bytes", 5)
        if strict:
            raise CorruptDocument("strictly")
        return 5

    assert read("a") == 5
    assert read.__name__ == "read"
    assert read.__doc__ == "Reads."
    with pytest.raises(CorruptDocument):
        read("b", strict=True)
    assert statuses(manager, "doc of a") == ["RUNNING", "SUCCESS"]
    assert statuses(manager, "doc of b") == ["RUNNING", "ERROR"]
    assert ending(manager, "doc of a").step_name == "read"
    assert ending(manager, "doc of a").metadata["metrics"]["bytes"] == 5


def test_decorated_functions_recurse(manager: ProcessingStepManager) -> None:
    """Calls within calls are runs of their own, with the decorator's thresholds."""

    @manager.step("d", "count", thresholds={"depth": 1})
    def count(depth: int) -> None:
        step = current_step()
        assert step is not None
        step.metric("depth", depth)
        if depth:
            count(depth - 1)

    count(2)
    assert statuses(manager) == ["RUNNING"] * 3 + ["SUCCESS", "SUCCESS", "WARNING"]


def test_async_with_and_coroutines(manager: ProcessingStepManager) -> None:
    """The same, under asyncio: steps of several tasks do not mix."""

    @manager.step(doc_id=lambda number: f"doc {number}", step_name="work")
    async def work(number: int) -> int:
        async with manager.step(f"doc {number}", "part") as part:
            await asyncio.sleep(0)
            assert current_step() is part
        step = current_step()
        assert step is not None
        assert step.step_name == "work"
        return number

    async def main() -> list[int]:
        return await asyncio.gather(*(work(number) for number in range(20)))

    assert asyncio.run(main()) == list(range(20))
    for number in range(20):
        assert statuses(manager, f"doc {number}") == ["RUNNING", "RUNNING", "SUCCESS", "SUCCESS"]


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("doc_id", {"doc_id": 5}),
        ("step_name", {"step_name": 5}),
        ("details", {"details": []}),
        ("depends_on", {"depends_on": [5]}),
        ("warn_after_ms", {"warn_after_ms": "5"}),
        ("thresholds", {"thresholds": [5]}),
        ("thresholds", {"thresholds": {"pages": "many"}}),
        ("thresholds", {"thresholds": {5: 5}}),
        ("warn_after_ms", {"warn_after_ms": float("nan")}),
        ("fatal", {"fatal": "ValueError"}),
        ("error_on", {"error_on": (ValueError, 5)}),
        ("skip_on", {"skip_on": int}),
        ("KeyError is in fatal and in skip_on", {"fatal": KeyError, "skip_on": (KeyError,)}),
    ],
)
def test_wrong_types_raise_naming_the_argument(
    manager: ProcessingStepManager, field: str, arguments: dict[str, Any]
) -> None:
    """Wrong types raise where the step is made."""
    with pytest.raises((TypeError, ValueError), match=field):
        manager.step(**{"doc_id": "d", "step_name": "s", **arguments})


def test_what_only_decorators_can_leave_open(manager: ProcessingStepManager) -> None:
    """`with` needs a document and a name."""
    with pytest.raises(TypeError, match="step_name"), manager.step("d"):
        pass
    with pytest.raises(TypeError, match="doc_id"), manager.step(lambda: "d", "s"):
        pass
    assert manager.get_steps("d") == []


def test_dependencies(manager: ProcessingStepManager) -> None:
    """`depends_on` names the steps that this one needs, in every event of the run."""
    with manager.step("d", "merge", depends_on=["split", "ocr"]):
        pass
    with manager.step("d", "index", depends_on="merge"):
        pass
    assert [step.details["depends_on"] for step in manager.get_steps("d")] == [
        ["split", "ocr"],
        ["split", "ocr"],
        ["merge"],
        ["merge"],
    ]
