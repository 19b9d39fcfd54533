"""Passwords in files, and values that contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.topics import Topics


def test_a_password_may_stand_in_a_file(tmp_path: Path) -> None:
    """It is read for each client, so that a rotated one is found; it is a secret like any."""
    file = tmp_path / "password"
    file.write_text("geheim-1\n", encoding="utf-8")
    settings = Settings(
        kafka="a:1", kafka_sasl_password_file=str(file), kafka_ssl_key_password_file=str(file)
    )
    config = settings.kafka_config()
    assert (config["sasl.password"], config["ssl.key.password"]) == ("geheim-1", "geheim-1")
    assert not any(name.endswith("file") for name in config)
    assert "geheim-1" in settings.secrets()
    assert "geheim" not in repr(settings)
    file.write_text("geheim-2", encoding="utf-8")
    assert settings.kafka_config()["sasl.password"] == "geheim-2"


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        ("missing", {}, r"STEPTRAIL_KAFKA_SASL_PASSWORD_FILE: .*missing cannot be read: No such file"),
        ("bytes", {}, r"STEPTRAIL_KAFKA_SASL_PASSWORD_FILE: .*bytes cannot be read: it is no text"),
        ("text", {"kafka_sasl_password": "geheim"}, "STEPTRAIL_KAFKA_SASL_PASSWORD and .*_FILE are both set"),
    ],
)
def test_a_password_file_that_cannot_be_is_refused(
    tmp_path: Path, name: str, more: dict[str, str], expected: str
) -> None:
    """With the variable's name, and without the password."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "text").write_text("geheim", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=expected) as raised:
        Settings(kafka="a:1", kafka_sasl_password_file=str(tmp_path / name), **more)  # type: ignore[arg-type]
    assert "geheim" not in str(raised.value)


def test_more_in_sync_replicas_than_there_are_is_refused() -> None:
    """Kafka would take the topic and then refuse every event."""
    with pytest.raises(ConfigurationError, match="STEPTRAIL_MIN_INSYNC_REPLICAS is 3, more than the 2"):
        Settings(kafka="a:1", replication_factor=2, min_insync_replicas=3)


def test_every_topic_has_the_in_sync_replicas_that_are_asked_for() -> None:
    """And none where nothing is asked for: then the brokers' default holds."""
    asked = Topics.from_settings(Settings(kafka="a:1", replication_factor=3, min_insync_replicas=2))
    assert {topic.config["min.insync.replicas"] for topic in asked.all} == {"2"}
    assert not any("min.insync.replicas" in topic.config for topic in Topics("a").all)
