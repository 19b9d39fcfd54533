import pytest
from confluent_kafka import KafkaException, Producer
from pydantic import SecretStr

from steptrail.schemas.redact import redact_message, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://default:geheim@127.0.0.1:8123/x", "http://default:***@127.0.0.1:8123/x"),
        ("no https://u:p@ss:w/rd@host/db here", "no https://u:***@host/db here"),
        ("http://:geheim@host", "http://:***@host"),
        ("http://default@127.0.0.1:8123/x", "http://default@127.0.0.1:8123/x"),
        ("127.0.0.1:9092", "127.0.0.1:9092"),
    ],
)
def test_passwords_in_urls_are_hidden(text: str, shown: str) -> None:
    """A URL keeps its user and host, and loses its password."""
    assert redacted(text) == shown


def test_secrets_of_a_mapping_are_hidden() -> None:
    """Secret names and types are hidden at any level, others shown."""
    assert redacted(
        {
            "sasl.password": "geheim",
            "ssl.key.pem": "geheim",
            "sasl.oauthbearer.client.secret": "geheim",
            "sasl.username": "me",
            "anything": SecretStr("geheim"),
            "inner": {"password": "geheim", "url": "http://u:geheim@h"},
            "kafka_sasl_password": None,
        }
    ) == {
        "sasl.password": "***",
        "ssl.key.pem": "***",
        "sasl.oauthbearer.client.secret": "***",
        "sasl.username": "me",
        "anything": "***",
        "inner": {"password": "***", "url": "http://u:***@h"},
        "kafka_sasl_password": None,
    }


def test_librdkafkas_errors_lose_their_secrets() -> None:
    """librdkafka quotes values that it refuses; none of them gets through."""
    config = {
        "bootstrap.servers": "127.0.0.1:1",
        "security.protocol": "ssl",
        "ssl.key.pem": "geheim-und-falsch",
    }
    with pytest.raises(KafkaException) as caught:
        Producer(config)
    assert "geheim" not in redact_message(str(caught.value), config)
    assert redact_message("value geheim-und-falsch of x", config) == "value *** of x"


def test_the_longest_secret_goes_first() -> None:
    """A secret that holds another one leaves no rest."""
    config = {"a.password": "geheim", "b.password": "geheim123"}
    assert redact_message("geheim123 geheim", config) == "*** ***"
