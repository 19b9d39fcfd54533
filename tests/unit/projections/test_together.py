import threading

import pytest

from steptrail.projections.clickhouse.concurrency import together


def test_a_failure_is_raised_only_when_every_task_has_ended() -> None:
    """Nothing of a caller's own is still on the way when it hears of the fault."""
    failed, ended = threading.Event(), []

    def fail() -> None:
        failed.set()
        raise ValueError("the first")

    def go_on() -> None:
        assert failed.wait(10)
        ended.append(True)

    with pytest.raises(ValueError, match="the first"):
        together([fail, go_on])
    assert ended == [True]
