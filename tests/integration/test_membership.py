"""Projectors that come and go under names of their own: nobody waits for a session to time out.

It lasts longer than any of these tests waits, so they hold only if it is not needed.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from steptrail.consumers.kafka.broker import BrokerQuestions, Group
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from support.consumed import event_value
from support.effort import ONLY_IN_TEST_ALL
from support.projecting import produce, projected, projectors
from support.waiting import PATIENCE_S, until

LONG_SESSION = {"STEPTRAIL_KAFKA_OPTIONS": f'{{"session.timeout.ms": "{2 * int(PATIENCE_S) * 1000}"}}'}


@pytest.fixture
def group(workspace: Settings) -> BrokerQuestions:
    return BrokerQuestions(workspace.kafka_config(), Topics(workspace.topic_prefix).steps.name)


def members(group: BrokerQuestions, settings: Settings) -> Group:
    return group.group(Topics(settings.topic_prefix).projector_group)


def test_a_successor_takes_over_at_once_after_kill_9(workspace: Settings, tmp_path: Path) -> None:
    """It has the name of the one that was killed, hence its partitions; every record once."""
    environ = {**LONG_SESSION, "XDG_STATE_HOME": str(tmp_path)}
    with projected(workspace) as store:
        sent = produce(workspace, (event_value() for _ in range(600)))
        with projectors(workspace, 1, **environ) as [first]:
            until(lambda: store.count() == len(sent), "projection")
            first.signal(signal.SIGKILL)
            first.wait()
            sent |= produce(workspace, (event_value() for _ in range(600)))
            with projectors(workspace, 1, **environ):
                until(lambda: store.count() == len(sent), "projection by the successor")
        assert store.offsets() == sorted(sent)


def test_a_member_that_stops_leaves_at_once(
    workspace: Settings, tmp_path: Path, group: BrokerQuestions
) -> None:
    """Of two the other one has all partitions then, although both are static members."""
    environ = {**LONG_SESSION, "XDG_STATE_HOME": str(tmp_path)}
    with projected(workspace) as store, projectors(workspace, 2, **environ) as [one, two]:
        until(
            lambda: [len(each.partitions) for each in members(group, workspace).members] == [3, 3],
            "even share of the partitions",
        )
        assert len({each.instance_id for each in members(group, workspace).members}) == 2
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
        sent = produce(workspace, (event_value() for _ in range(600)))
        until(lambda: store.count() == len(sent), "projection by the other one")
        assert [len(each.partitions) for each in members(group, workspace).members] == [6]
        two.signal(signal.SIGTERM)
        assert two.wait() == 0
        assert members(group, workspace).members == ()


@ONLY_IN_TEST_ALL
def test_a_member_whose_given_name_another_takes_ends_with_the_error(workspace: Settings) -> None:
    """It reads nothing any more, so it must not say that it runs."""
    environ = {**LONG_SESSION, "STEPTRAIL_GROUP_INSTANCE_ID": "projector-0"}
    with projected(workspace) as store, projectors(workspace, 1, **environ) as [one]:
        sent = produce(workspace, (event_value() for _ in range(60)))
        until(lambda: store.count() == len(sent), "projection")
        with projectors(workspace, 1, **environ) as [two]:
            assert one.wait() == 1
            assert "fenced" in one.said()
            sent |= produce(workspace, (event_value() for _ in range(60)))
            until(lambda: store.count() == len(sent), "projection by the other one")
            assert two.process.poll() is None


@ONLY_IN_TEST_ALL
def test_two_members_of_one_name_both_work(
    workspace: Settings, tmp_path: Path, group: BrokerQuestions
) -> None:
    """A cloned machine: the one that Kafka fences joins again under a new name; every record once."""
    original, clone = tmp_path / "original", tmp_path / "clone"
    with projected(workspace) as store:
        with projectors(workspace, 1, **LONG_SESSION, XDG_STATE_HOME=str(original)) as [one]:
            sent = produce(workspace, (event_value() for _ in range(60)))
            until(lambda: store.count() == len(sent), "projection")
            shutil.copytree(original, clone)
            with projectors(workspace, 1, **LONG_SESSION, XDG_STATE_HOME=str(clone)) as [two]:
                until(
                    lambda: [len(each.partitions) for each in members(group, workspace).members] == [3, 3],
                    "even share of the partitions",
                )
                sent |= produce(workspace, (event_value() for _ in range(600)))
                until(lambda: store.count() == len(sent), "projection by both")
                assert one.process.poll() is None
                assert two.process.poll() is None
                assert "another member has the name" in one.said()
        assert store.offsets() == sorted(sent)
