from __future__ import annotations

import pytest

from steptrail.schemas import ConfigurationError, Settings
from steptrail.schemas.wire.registry import SchemaRegistry, client_config, subject_of


def test_the_client_is_told_where_and_as_whom() -> None:
    """Address, credentials and authorities, and to leave trying again to us."""
    settings = Settings(
        schema_registry="https://registry:8081,https://other:8081",
        schema_registry_user="reader",
        schema_registry_password="p:w",
        schema_registry_ca="/ca.pem",
    )
    config = client_config(settings)
    assert config["url"] == "https://registry:8081,https://other:8081"
    assert config["basic.auth.user.info"] == "reader:p:w"
    assert config["ssl.ca.location"] == "/ca.pem"
    assert config["max.retries"] == 0
    assert "p:w" in settings.secrets()
    assert "p:w" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("registry:8081", "expected a URL such as"),
        ("ftp://registry", "expected a URL such as"),
        ("http://", "expected a URL such as"),
        ("http://a:99999", "expected a URL such as"),
        ("http://a,", "expected a URL such as"),
        ("http://user:sesame@registry", "STEPTRAIL_SCHEMA_REGISTRY_PASSWORD"),
    ],
)
def test_urls_that_cannot_be_are_refused(url: str, said: str) -> None:
    """Saying what is expected, and never a password."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        Settings(schema_registry=url)
    assert "sesame" not in str(caught.value)


def test_without_the_setting_there_is_no_registry() -> None:
    """Which whoever asks for one is told."""
    with pytest.raises(ConfigurationError, match="STEPTRAIL_SCHEMA_REGISTRY is not set"):
        SchemaRegistry(Settings())


def test_subjects_are_named_after_topics() -> None:
    """As other tools expect it."""
    assert subject_of("steptrail.steps.v1") == "steptrail.steps.v1-value"
