"""What is said when topics cannot be seen."""

from __future__ import annotations

import pytest

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.topic_admin import TopicAdmin


@pytest.mark.parametrize("answer_s", [0.0, 0.2])
def test_topics_that_stay_unseen_lack_a_right_by_name(
    answer_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the time runs out, between two questions or in one: never is it said that Kafka did not answer."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    admin = TopicAdmin(Settings(kafka="127.0.0.1:1"), timeout=3)

    def sizes() -> dict[str, object]:
        admin._left()
        now[0] += answer_s
        return {}

    monkeypatch.setattr(admin, "_sizes", sizes)
    with pytest.raises(
        ConfigurationError, match=r"lacks the right Describe .* on the topic steptrail\.steps\.v1"
    ):
        admin._await_topics(["steptrail.steps.v1"])
