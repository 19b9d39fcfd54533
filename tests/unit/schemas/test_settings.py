import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steptrail.schemas.configuration.settings import Settings, unknown_variables
from steptrail.schemas.configuration.settings_page import settings_page
from steptrail.schemas.errors import ConfigurationError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("STEPTRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # where no stack runs


def test_defaults_stand_for_themselves() -> None:
    """Without anything set, there are settings, and they are those of one machine."""
    settings = Settings()
    assert settings.kafka == "127.0.0.1:9092"
    assert settings.pipeline == "default"
    assert settings.kafka_config() == {"bootstrap.servers": "127.0.0.1:9092", "client.id": "steptrail"}
    target = settings.clickhouse_target()
    assert (target.host, target.port, target.username, target.password) == ("127.0.0.1", 8123, "default", "")
    assert (target.database, target.secure) == ("steptrail", False)


def test_kafka_gets_sasl_tls_and_any_property(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting becomes librdkafka's property; options are passed on and win."""
    for name, value in {
        "KAFKA": "a:9092, b:9092",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": "me",
        "KAFKA_SASL_PASSWORD": "geheim",
        "KAFKA_SSL_CA_LOCATION": "/ca.pem",
        "KAFKA_SSL_KEY_PASSWORD": "geheim2",
        "KAFKA_OPTIONS": '{"socket.keepalive.enable": true, "client.id": "mine", "retries": 3}',
    }.items():
        monkeypatch.setenv(f"STEPTRAIL_{name}", value)
    assert Settings().kafka_config() == {
        "bootstrap.servers": "a:9092, b:9092",
        "client.id": "mine",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "geheim",
        "ssl.ca.location": "/ca.pem",
        "ssl.key.password": "geheim2",
        "socket.keepalive.enable": "true",
        "retries": "3",
    }


def test_a_variable_is_read_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems whose variables know no case; and an argument wins."""
    monkeypatch.setenv("steptrail_pipeline", "ocr")
    monkeypatch.setenv("STEPTRAIL_TOPIC_PREFIX", "theirs")
    settings = Settings(topic_prefix="mine")
    assert (settings.pipeline, settings.topic_prefix) == ("ocr", "mine")


def test_settings_import_no_reader_of_files_or_arguments() -> None:
    """Every worker and consumer pays for what is imported at its start."""
    code = (
        "import sys, steptrail.schemas; assert not {'pydantic_settings', 'dotenv', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_options_may_be_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is short to write is read too."""
    monkeypatch.setenv("STEPTRAIL_KAFKA_OPTIONS", "debug=broker, retries=3")
    assert Settings().kafka_options == {"debug": "broker", "retries": "3"}


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://h", ("h", 8123, "default", "", "steptrail", False)),
        ("https://u:p%40ss@h/db", ("h", 8443, "u", "p@ss", "db", True)),
        ("http://u:p@[::1]:99/", ("::1", 99, "u", "p", "steptrail", False)),
    ],
)
def test_clickhouse_is_a_url(url: str, parts: tuple[Any, ...]) -> None:
    """Scheme, port, credentials and database have their meanings and defaults."""
    target = Settings(clickhouse=url).clickhouse_target()
    assert (
        target.host,
        target.port,
        target.username,
        target.password,
        target.database,
        target.secure,
    ) == parts


def test_user_password_and_tls_of_clickhouse_can_be_set_apart() -> None:
    """So that the secret is in a variable of its own."""
    settings = Settings(
        clickhouse="https://u:p@h/db",
        clickhouse_user="v",
        clickhouse_password="q",
        clickhouse_ca="/ca.pem",
        clickhouse_verify=False,
    )
    target = settings.clickhouse_target()
    assert (target.username, target.password, target.ca, target.verify) == ("v", "q", "/ca.pem", False)
    assert "q" not in repr(target).replace("clickhouse", "")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STEPTRAIL_STEPS_PARTITIONS", "0", "greater than or equal to 1"),
        ("STEPTRAIL_STEPS_PARTITIONS", "many", "many"),
        ("STEPTRAIL_KAFKA", "a:b", "host:port"),
        ("STEPTRAIL_KAFKA", "a:99999", "host:port"),
        ("STEPTRAIL_TOPIC_PREFIX", "a b", "letters"),
        ("STEPTRAIL_PIPELINE", "x" * 2000, "1024"),
        ("STEPTRAIL_CLICKHOUSE", "ftp://u:geheim@h", "http://"),
        ("STEPTRAIL_CLICKHOUSE", "http://u:geheim@h:port/db", "number"),
        ("STEPTRAIL_CLICKHOUSE", "http://u:geheim?x@h", "%3F"),
        ("STEPTRAIL_CLICKHOUSE", "http:///db", "host"),
        ("STEPTRAIL_KAFKA_OPTIONS", '{"sasl.password": "geheim"', "JSON"),
        ("STEPTRAIL_KAFKA_OPTIONS", "geheim", "name=value"),
        ("STEPTRAIL_KAFKA_OPTIONS", '{"sasl.password": ["geheim"]}', "string"),
        ("STEPTRAIL_KAFKA_SECURITY_PROTOCOL", "tls", "plaintext"),
        ("STEPTRAIL_BATCH_MAX_AGE_S", "5", "less than or equal to 1"),
        ("STEPTRAIL_METRICS_PORT", "70000", "65535"),
        ("STEPTRAIL_MAX_DETAILS_BYTES", "900000", "STEPTRAIL_MAX_EVENT_BYTES"),
    ],
)
def test_a_bad_value_is_refused_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    """The error names the variable and what is expected, and no secret; nothing is chained that would."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        Settings()
    assert told in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_bad_argument_is_refused_by_its_name() -> None:
    """Arguments are named as they were given, unknown ones too; several faults come together."""
    with pytest.raises(ConfigurationError, match="no such setting") as caught:
        Settings(steps_partitions=0, kafak="a:1")  # type: ignore[call-arg]
    assert "kafak" in str(caught.value)
    assert "steps_partitions" in str(caught.value)


def test_secrets_are_never_shown() -> None:
    """Not by repr, str, dump to JSON or `redacted`; only where clients need them."""
    settings = Settings(
        kafka_sasl_password="geheim-1",
        kafka_ssl_key_password="geheim-2",
        kafka_options={"ssl.keystore.password": "geheim-3"},
        clickhouse="http://u:geheim-4@h",
        clickhouse_password="geheim-5",
    )
    for shown in (repr(settings), str(settings), str(settings.redacted()), f"{settings!r}"):
        assert "geheim" not in shown
        assert "http://u:***@h" in shown
    assert set(settings.secrets()) >= {f"geheim-{number}" for number in (1, 2, 3, 5)}


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files leave them."""
    monkeypatch.setenv("STEPTRAIL_KAFKA", "")
    monkeypatch.setenv("STEPTRAIL_METRICS_PORT", "")
    assert Settings().kafka == "127.0.0.1:9092"
    assert Settings().metrics_port is None


def test_settings_are_constant_copied_and_sent() -> None:
    """They cannot be set, a copy with other values is checked, and they survive the way to another process."""
    settings = Settings(kafka="a:1")
    with pytest.raises(ValueError, match="frozen"):
        settings.kafka = "b:1"  # type: ignore[misc]  # that is the point
    assert settings.with_values(pipeline="p").kafka == "a:1"
    with pytest.raises(ConfigurationError, match="pipeline"):
        settings.with_values(pipeline="")
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_typing_errors_in_names_are_found() -> None:
    """A variable that starts with STEPTRAIL_ and means nothing is told."""
    names = ["STEPTRAIL_KAKFA", "STEPTRAIL_KAFKA", "STEPTRAIL_DIR", "PATH"]
    assert unknown_variables(dict.fromkeys(names, "x")) == ["STEPTRAIL_KAKFA"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("STEPTRAIL_KAKFA", "STEPTRAIL_KAFKA"),
        ("STEPTRAIL_KAFKA_BROKERS", "STEPTRAIL_KAFKA"),
        ("STEPTRAIL_BOOTSTRAP_SERVERS", "STEPTRAIL_KAFKA"),
        ("STEPTRAIL_CLICKHOUSE_URL", "STEPTRAIL_CLICKHOUSE"),
        ("steptrail_clickhous", "STEPTRAIL_CLICKHOUSE"),
        ("STEPTRAIL_DIRECTORY", "STEPTRAIL_DIR"),
    ],
)
def test_a_misspelt_address_is_refused_where_it_is_missing(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events never go to the default address because of a typing error."""
    monkeypatch.setenv(name, "prod:9092")
    with pytest.raises(ConfigurationError, match=rf"{name} is set.*did you mean {meant}\b"):
        Settings()


def test_another_unknown_variable_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning with near names, once a process; what Kubernetes sets for a service of that name is left alone."""
    monkeypatch.setenv("STEPTRAIL_LINGER", "5")
    monkeypatch.setenv("STEPTRAIL_KAFKA_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("STEPTRAIL_KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("STEPTRAIL_KAFKA_BROKERS", "told, since the address is given")
    for _ in range(2):
        Settings(kafka="a:1", clickhouse="http://b:2")
    assert [record.getMessage().partition(".")[0] for record in caplog.records] == [
        "STEPTRAIL_KAFKA_BROKERS is set, but there is no such setting; did you mean STEPTRAIL_KAFKA?"
        " docs/settings",
        "STEPTRAIL_LINGER is set, but there is no such setting; did you mean STEPTRAIL_LINGER_MS? docs/settings",
    ]


def test_every_variable_that_is_read_somewhere_is_listed() -> None:
    """What the program and compose.yaml name STEPTRAIL_* is a setting, or on the page as read elsewhere."""
    roots = ("schemas", "producers", "projections", "consumers", "deploy")
    files = [path for root in roots for path in (ROOT / root).rglob("*.py")]
    named = {
        name
        for path in [*files, *(ROOT / "deploy").glob("*.yaml")]
        for name in re.findall(r"\bSTEPTRAIL_[A-Z][A-Z_]*[A-Z]\b", path.read_text())
    }
    named.remove("STEPTRAIL_KAKFA")  # the page's example of a mistake
    assert unknown_variables(dict.fromkeys(named, "x")) == []


def test_every_setting_is_described() -> None:
    """There is no field without a description."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_page_is_current() -> None:
    """docs/settings.md is what the model says; `python -m steptrail.schemas.configuration.settings_page` writes it."""
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page()
    listed = set(re.findall(r"^\| `STEPTRAIL_(\w+)`", settings_page(), re.MULTILINE))
    assert {name.upper() for name in Settings.model_fields} <= listed
