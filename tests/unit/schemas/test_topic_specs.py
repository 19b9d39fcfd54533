from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics


def test_names_follow_the_prefix() -> None:
    """One record kind a topic, versioned, and a group for each reader, all under one prefix."""
    assert [spec.name for spec in Topics("acme").all] == [
        "acme.steps.v1",
        "acme.steps.v1.dlq",
        "acme.emitters.v1",
        "acme.observations.v1",
        "acme.health.v1",
        "acme.alerts.v1",
        "acme.notifications.v1",
        "acme.silences.v1",
        "acme.schemas.v1",
    ]
    topics = Topics()
    assert topics.steps.name == "steptrail.steps.v1"
    assert (topics.projector_group, topics.health_group, topics.alerts_group) == (
        "steptrail-projector",
        "steptrail-health",
        "steptrail-alerts",
    )


def test_the_steps_topic_has_what_the_design_counts_on() -> None:
    """The broker's time, room for the longest event, and a stated retention."""
    steps = Topics().steps
    assert steps.partitions == 6
    assert steps.config["message.timestamp.type"] == "LogAppendTime"
    assert int(steps.config["max.message.bytes"]) >= 1024 * 1024
    assert steps.config["cleanup.policy"] == "delete"
    assert steps.config["retention.ms"] == str(30 * 24 * 3600 * 1000)
    assert steps.config["retention.bytes"] == "-1"


def test_dead_letters_are_larger_and_stay_longer() -> None:
    """A dead letter is a message and more, and someone has to find it."""
    topics = Topics()
    assert int(topics.dlq.config["max.message.bytes"]) == 2 * 1024 * 1024
    assert int(topics.dlq.config["retention.ms"]) > int(topics.steps.config["retention.ms"])
    assert Topics(retention_ms=-1).dlq.config["retention.ms"] == "-1"
    assert Topics(retention_ms=10**12).dlq.config["retention.ms"] == str(10**12)


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
    assert (topics.steps.name, topics.steps.partitions) == ("t.steps.v1", 3)
    assert topics.steps.config["retention.ms"] == topics.dlq.config["retention.ms"] == "-1"
