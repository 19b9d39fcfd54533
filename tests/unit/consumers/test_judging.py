"""What the health consumer decides without asking anybody: the leader's feed, progress, the rules file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from steptrail.consumers.health.progress import Progress
from steptrail.consumers.health.rules.kinds.errors import ErrorPolicy
from steptrail.consumers.health.rules.rules import RulesError
from steptrail.consumers.health.rules_edit import add_rule, rule_text
from steptrail.consumers.health.rules_file import watch_rules
from steptrail.consumers.health.verdict_records import is_news
from steptrail.consumers.loop.feed import GroupFeed, LeaderFeed, Leadership
from support.consumed import batch_of, message


def entries(*numbers: int) -> list[TopicPartition]:
    return [TopicPartition("t", number) for number in numbers]


def test_a_leader_holds_everything_and_what_is_new() -> None:
    """From the assignment of the token to its end; the others hold nothing."""
    count = 0
    leadership = Leadership()
    feed = LeaderFeed("token", leadership, lambda: count)
    assert feed.assigned([]) == []
    assert feed.more([]) == []
    assert feed.assigned(entries(0)) == []
    assert leadership.held
    assert feed.more([]) == []
    count = 3
    assert feed.more([]) == [0, 1, 2]
    count = 5
    assert feed.more([0, 1, 2]) == [3, 4]
    assert feed.revoked([], [0, 1, 2]) == []
    assert leadership.held
    assert feed.revoked(entries(0), [0, 1, 2]) == [0, 1, 2]
    assert not leadership.held
    assert feed.more([]) == []


def test_a_group_shares() -> None:
    """What the group says, and no more."""
    feed = GroupFeed("t")
    assert feed.assigned(entries(1, 2)) == [1, 2]
    assert feed.revoked(entries(2), [1, 2]) == [2]
    assert feed.more([1]) == []


def test_an_end_counts_once_everything_before_it_is_written() -> None:
    """A trailing marker takes an offset: the end is further than the last record."""
    progress = Progress()
    progress.reached_end(0, position=10, end=11)
    assert progress.consumed() == {}
    progress.stands_at({0: 9})
    assert progress.consumed() == {}
    progress.stands_at({0: 10})
    assert progress.consumed() == {0: 11}


def test_nothing_is_published_again() -> None:
    """Everything before the greatest slot on the topic stands there, and of that slot what has its key there."""
    told: dict[str, Any] = {"slot": 7}
    assert is_news(told, None, 6)
    assert is_news(told, {"slot": 5}, 6)
    assert not is_news(told, None, 8)
    assert not is_news(told, {"slot": 7}, 7)
    assert is_news(told, {"slot": 5}, 7)
    assert is_news(told, None, 7)


def test_a_rules_file_is_read_again_and_refused_whole(tmp_path: Path) -> None:
    """The old rules stay in force; what is wrong is said by line and key until it is mended."""
    path = tmp_path / "health.toml"
    times = iter(range(0, 1000, 10))
    file = watch_rules(path, clock=lambda: next(times))
    assert not file.refresh()
    assert file.fault is not None
    assert "cannot be read" in file.fault
    path.write_text("[defaults]\nerrors.bad = 0.3\n")
    assert file.refresh()
    assert file.fault is None
    assert not file.refresh()
    assert file.value.policy("p", "s").of(ErrorPolicy).bad == 0.3
    path.write_text("[defaults]\nerrors.bad = 0.4\nerrors.worse = 1\n")
    os.utime(path, ns=(1, 1))
    assert not file.refresh()
    assert file.value.policy("p", "s").of(ErrorPolicy).bad == 0.3
    assert file.fault is not None
    assert "line 3, defaults.errors.worse" in file.fault
    path.write_text("[defaults]\nerrors.bad = 0.5\n")
    assert file.refresh()
    assert (file.fault, file.value.policy("p", "s").of(ErrorPolicy).bad) == (None, 0.5)
    assert not watch_rules(None).refresh()


def test_a_rule_is_added_whole_or_not(tmp_path: Path) -> None:
    """Names with quotes and globs come through; the file keeps its mode."""
    path = tmp_path / "health.toml"
    add_rule(path, rule_text('a "b" *', "s", {"errors.bad": 0.3}, ["silence"]))
    path.chmod(0o640)
    rules = add_rule(path, rule_text("*", "s", {"errors.bad": 0.4}))
    assert rules.policy('a "b" c', "s").of(ErrorPolicy).bad == 0.4
    assert rules.policy('a "b" c', "s").silenced == {"silence"}
    assert path.stat().st_mode & 0o777 == 0o640
    before = path.read_bytes()
    with pytest.raises(RulesError, match=r"errors\.bad"):
        add_rule(path, rule_text("*", "s", {"errors.bad": 40}))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["health.toml"]


def test_late_records_are_counted() -> None:
    """Those that were appended before the watermark that stood when they were written."""
    progress = Progress()
    batch = batch_of(message(0, 4), message(1, 7), message(0, 5))
    times = [message.timestamp()[1] for message in batch.messages]
    progress.watermark = (max(times) + 1) / 1000
    progress.batch_written(batch, frozenset(batch.batch.spans))
    [applied] = progress.take()
    assert applied.late == len(times)
    assert set(applied.latest) == set(batch.batch.spans)
    assert progress.take() == []
    [span] = progress.take_written()
    assert span.reached == {partition: each.last + 1 for partition, each in batch.batch.spans.items()}
