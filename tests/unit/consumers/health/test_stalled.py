import numpy as np
import pytest

from steptrail.consumers.health.rules import Observed, OpenExecution, observations
from steptrail.consumers.health.rules.kinds.durations import Learned
from steptrail.consumers.health.rules.kinds.stalled import StalledPolicy, deadlines
from steptrail.consumers.health.rules.overdue import is_stalled
from steptrail.consumers.health.rules.sketch import bin_of

STEP = ("p", "ocr")


def execution(number: int, started_at: float) -> OpenExecution:
    return OpenExecution(*STEP, f"doc-{number}", number.to_bytes(16, "big"), started_at)


def test_a_deadline_is_learned_from_a_hundred_endings_or_declared() -> None:
    """max(10 min, 3 times the 99th percentile)."""
    learned = Learned.of(3)
    learned.total[:] = 99, 100, 5000
    learned.p99_bin[:] = bin_of(np.array([1e6, 1e3, 1e6]))
    found = deadlines(learned, StalledPolicy())
    assert np.isnan(found[0])
    assert found[1] == 600
    assert 3000 <= found[2] <= 3300
    assert list(deadlines(learned, StalledPolicy(deadline_s=30))) == [30, 30, 30]


def test_it_is_the_watermark_that_decides() -> None:
    """Start, deadline and a minute must have passed for the topic; without a deadline nothing stalls."""
    assert not is_stalled(100.0, 600.0, 759.9)
    assert is_stalled(100.0, 600.0, 760.0)
    assert not is_stalled(100.0, None, 1e9)


def test_only_what_changed_is_said() -> None:
    """Stalled once, retracted when the ending came, both in the order of ids."""
    opened = [execution(3, 0.0), execution(1, 0.0), execution(2, 500.0)]
    first = observations(opened, {}, {STEP: 600.0}, 700.0)
    assert [(o.what, o.execution.doc_id) for o in first] == [
        (Observed.STALLED, "doc-1"),
        (Observed.STALLED, "doc-3"),
    ]
    said = {o.execution.execution_id: o.execution for o in first}
    assert observations(opened, said, {STEP: 600.0}, 800.0) == []
    assert observations(opened, said, {}, 800.0) == []
    (back,) = observations(opened[1:2], said, {STEP: 600.0}, 800.0)
    assert (back.what, back.execution.doc_id) == (Observed.RETRACTED, "doc-3")
    assert first[0].sentence == "started 700 s ago and has not ended; deadline 600 s"
    assert "after all" in back.sentence


@pytest.mark.parametrize(("grace", "stalls"), [({}, 1), ({STEP: 300.0}, 0)])
def test_a_step_may_have_more_grace(grace: dict[tuple[str, str], float], stalls: int) -> None:
    """Sixty seconds, where nothing else is said."""
    assert len(observations([execution(1, 0.0)], {}, {STEP: 600.0}, 700.0, grace)) == stalls


def test_what_is_queued_has_a_deadline_of_its_own() -> None:
    """One that is PENDING goes by what was declared for queues, and without that waits for ever."""
    waits = OpenExecution(*STEP, "doc-1", b"1" * 16, 0.0, queued=True)
    assert observations([waits], {}, {STEP: 600.0}, 1e9) == []
    (said,) = observations([waits], {}, {}, 960.0, None, {STEP: 900.0})
    assert (said.what, said.deadline_s) == (Observed.STALLED, 900.0)
    assert said.sentence == "PENDING for 960 s and nobody has begun it; deadline 900 s"
    (back,) = observations([], {b"1" * 16: waits}, {}, 1000.0, None, {STEP: 900.0})
    assert back.what is Observed.RETRACTED
    assert back.sentence == "it was begun, or a later execution arrived after all"
