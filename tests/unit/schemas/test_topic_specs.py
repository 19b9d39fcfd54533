"""What the topics promise to those who write to them and read from them, whatever their figures are."""

from __future__ import annotations

import re

import pytest

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.limits import MAX_EVENT_BYTES
from steptrail.schemas.topics import Topics


def test_names_follow_the_prefix() -> None:
    """One record kind a topic, versioned, and a group for each reader, all under one prefix."""
    topics, others = Topics("acme"), Topics("other")
    names = [spec.name for spec in topics.all]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"acme\.[a-z]+\.v[0-9]+(\.dlq)?", name) for name in names)
    assert [spec.name.replace("other", "acme", 1) for spec in others.all] == names
    groups = [topics.projector_group, topics.health_group, topics.alerts_group]
    assert len(set(groups)) == 3
    assert all(group.startswith("acme-") for group in groups)
    assert topics.dlq.name == f"{topics.steps.name}.dlq"


def test_the_names_that_others_write_to_stay() -> None:
    """Emitters of every version meet on these."""
    topics = Topics.from_settings(Settings(topic_prefix="steptrail"))
    assert (topics.steps.name, topics.projector_group) == ("steptrail.steps.v1", "steptrail-projector")


def test_the_steps_topic_has_what_the_design_counts_on() -> None:
    """The broker's time, room for the longest event with its headers and key, and no limit but age."""
    steps = Topics().steps
    assert steps.config["message.timestamp.type"] == "LogAppendTime"
    assert int(steps.config["max.message.bytes"]) > MAX_EVENT_BYTES
    assert steps.config["cleanup.policy"] == "delete"
    assert steps.config["retention.bytes"] == "-1"


@pytest.mark.parametrize("retention_ms", [1, 10**9, 10**12])
def test_dead_letters_are_larger_and_stay_at_least_as_long(retention_ms: int) -> None:
    """A dead letter is a message and more, and someone has to find it."""
    for topics in (Topics(), Topics(retention_ms=retention_ms)):
        steps, dlq = topics.steps.config, topics.dlq.config
        assert int(dlq["max.message.bytes"]) > int(steps["max.message.bytes"])
        assert int(dlq["retention.ms"]) >= int(steps["retention.ms"])
    assert Topics(retention_ms=-1).dlq.config["retention.ms"] == "-1"


def test_states_are_compacted() -> None:
    """Health and alerts keep the last record of each key, without end."""
    topics = Topics()
    for spec in (topics.health, topics.alerts):
        assert spec.config["cleanup.policy"] == "compact"
        assert "retention.ms" not in spec.config


def test_settings_decide() -> None:
    """Prefix, partitions and both retentions come from the settings."""
    settings = Settings(topic_prefix="t", steps_partitions=3, retention_ms=-1, dlq_retention_ms=-1)
    topics = Topics.from_settings(settings)
    assert topics.steps.name.startswith("t.")
    assert topics.steps.partitions == 3
    assert topics.steps.config["retention.ms"] == topics.dlq.config["retention.ms"] == "-1"
