"""The alerts file: what it means, and that a mistake is told with its line and key."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from steptrail.consumers.alerts.config.config import AlertsConfig, AlertsFileError
from steptrail.consumers.alerts.config.secrets import SecretPlaces
from steptrail.consumers.alerts.delivery.fitting import Limits
from steptrail.consumers.alerts.model.policy import Grouping
from steptrail.consumers.alerts.run import watch_config

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ENVIRON = {
    "OPS_SECRET": SECRET,
    "OLD": SECRET,
    "SLACK_URL": "https://hooks.slack.com/services/T0/B0/hush",
    "PW": "pw",
}

HOOK = "[[target]]\nname = 'a'\ntype = 'webhook'\nurl = 'http://a'\n"

WHOLE = """
[defaults]
group_by = ["pipeline", "step"]
repeat_interval = "1h30m"

[alerts]
of_pipelines = true

[inhibition]
kinds = ["sight"]

[[owner]]
pipeline = "invoices*"
owner = "team-docs"
labels = { tier = "1" }

[[target]]
name = "ops"
type = "webhook"
url = "https://ops.example.com/hook?x=1"
secret_env = ["OPS_SECRET", "OLD"]
timeout = 3

[[target]]
name = "chat"
type = "webhook"
url_env = "SLACK_URL"
template = "slack"

[[target]]
name = "am"
type = "alertmanager"
url = "http://127.0.0.1:9093"
username = "me"
password_env = "PW"
resend = "30s"

[[route]]
severity = "CRITICAL"
targets = ["ops"]
continue = true
group_wait = 0

[[route]]
name = "all"
targets = ["chat", "am"]
"""


def parse(text: str) -> AlertsConfig:
    return AlertsConfig.parse(text, "alerts.toml", SecretPlaces(ENVIRON, Path("/nowhere")))


def test_a_whole_file() -> None:
    """Every table, each once."""
    config = parse(WHOLE)
    policy = config.policy
    assert policy.of_pipelines
    assert policy.inhibition.kinds == ("sight",)
    assert policy.ownership("invoices-2026", "ocr") == ("team-docs", {"tier": "1"})
    assert policy.routes[0].grouping == Grouping(("pipeline", "step"), 0.0, 60.0, 5400.0)
    assert [(route.name, route.goes_on) for route in policy.routes] == [("route 1", True), ("all", False)]
    assert len(config.targets["ops"].keys) == 2
    assert config.targets["am"].headers == {"Authorization": "Basic " + base64.b64encode(b"me:pw").decode()}
    assert config.targets["am"].policy.grouping == Grouping((), 0.0, 0.0, 30.0)


def test_an_empty_file_is_right() -> None:
    """Alerts are published for whoever reads the topic, and nobody is told."""
    assert parse("").targets == {}


def test_no_secret_is_in_any_text_about_the_configuration() -> None:
    """Neither keys, nor passwords, nor the paths of addresses, which are secrets in many services."""
    config = parse(WHOLE)
    said = repr(config) + "".join(target.shown for target in config.targets.values())
    for secret in (SECRET, SECRET[6:], "hush", "Basic", "x=1", repr(bytes(range(32)))):
        assert secret not in said


@pytest.mark.parametrize(
    ("text", "line", "key", "what"),
    [
        ("[[target]", 1, "", "is not TOML"),
        ("[target]\nname = 'a'", 1, "target", "two brackets"),
        ("[[target]]\nname = 'a'\ntype = 'mail'", 3, "target[1].type", "neither"),
        (
            "[[target]]\nname = 'a b'\ntype = 'webhook'\nurl = 'http://a'",
            2,
            "target[1].name",
            "expected a name",
        ),
        ("[[target]]\nname = 'a'\ntype = 'webhook'", 1, "target[1].url", "is missing"),
        ("[[target]]\nname = 'a'\ntype = 'webhook'\nurl = 'ftp://a'", 4, "target[1].url", "expected a URL"),
        (
            "[[target]]\nname = 'a'\ntype = 'webhook'\nurl = 'http://u:p@a'",
            4,
            "target[1].url",
            "a user or a password",
        ),
        (
            "[[target]]\nname = 'a'\ntype = 'webhook'\nurl_env = 'NOPE'",
            4,
            "target[1].url_env",
            "NOPE is not set",
        ),
        (
            "[[target]]\nname = 'a'\ntype = 'webhook'\nurl_env = 'PW'",
            4,
            "target[1].url_env",
            "expected a URL",
        ),
        (
            "[[target]]\nname = 'a'\ntype = 'webhook'\nurl = 'http://a'\nsecret_env = 'PW'",
            5,
            "target[1].secret_env",
            "whsec_",
        ),
        (
            "[[target]]\nname = 'a'\ntype = 'webhook'\nurl = 'http://a'\nsecret = 'whsec_abc'",
            5,
            "target[1].secret",
            "does not belong into this file",
        ),
        (
            "[[target]]\nname = 'a'\ntype = 'webhook'\nurl = 'http://a'\nsecret_file = 'gone'",
            5,
            "target[1].secret_file",
            "cannot be read",
        ),
        (
            "[[target]]\nname = 'a'\ntype = 'webhook'\nurl = 'http://a'\nbody = '{\"a\": \"$titel\"}'",
            5,
            "target[1].body",
            "$titel is not known",
        ),
        (
            "[[target]]\nname='a'\ntype='webhook'\nurl='http://a'\nresend=3",
            5,
            "target[1].resend",
            "not known here",
        ),
        ("[[route]]\ntargets = ['x']", 2, "route[1].targets", "no target 'x'"),
        ("[[route]]\nseverity = 'HIGH'\ntargets = []", 2, "route[1].severity", "none of"),
        ("[[route]]\nstep = 3\ntargets = []", 2, "route[1].step", "neither a text"),
        ("[[route]]\ntargets = []\n[[route]]\nname = 'route 1'\ntargets = []", 4, "route[2].name", "already"),
        ("[defaults]\ngroup_wait = '5 minutes'", 2, "defaults.group_wait", "not a duration"),
        ("[defaults]\ngroup_wait = '2d'", 2, "defaults.group_wait", "not between"),
        ("[defaults]\nrepeat_interval = '5s'", 2, "defaults.repeat_interval", "less than group_interval"),
        ("[[owner]]\nlabels = { 'a-b' = 'c' }", 2, "owner[1].labels.a-b", "letters"),
        ("inhibit = true", 1, "inhibit", "not known here"),
        ("[inhibition]\nenabled = 'no'", 2, "inhibition.enabled", "neither true nor false"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_key(text: str, line: int, key: str, what: str) -> None:
    """And nothing of the file is in force; what was read of secrets is not in the message."""
    with pytest.raises(AlertsFileError) as told:
        parse(text)
    assert (told.value.mistakes[0].line, told.value.mistakes[0].key) == (line, key)
    assert what in told.value.mistakes[0].what
    assert "whsec_abc" not in str(told.value)
    assert "'pw'" not in str(told.value)


@pytest.mark.parametrize(
    "line",
    [
        "secret_env = 'whsec_hushHush'",
        "secret_file = 'whsec_hushHush'",
        "bearer_env = ['hushHush']",
        "password_file = 'hushHush'",
        "bearer = 'hushHush'",
        "bearer_token = 'hushHush'",
        "url_file = 'https://hooks.example.com/hushHush'",
        "body = 'hushHush",
        "password_file = 'hush\\u0000Hush'".replace("'", '"'),
    ],
)
def test_a_secret_in_the_place_of_its_name_is_not_shown(line: str) -> None:
    """Whoever writes the secret itself where the name of its variable or file belongs finds it in no log."""
    with pytest.raises(AlertsFileError) as told:
        parse(HOOK + line)
    assert "hush" not in str(told.value)
    assert "line 5" in str(told.value)


def test_mistakes_between_keys_are_told_with_the_others() -> None:
    """That a target has two addresses hides neither a bad value beside it nor a bad route."""
    text = HOOK + "url_env = 'SLACK_URL'\nattempts = 0\n[[route]]\ntargets = ['b']\n"
    with pytest.raises(AlertsFileError) as told:
        parse(text + "repeat_interval = '1s'\n[[target]]\nname = 'a'\ntype = 'webhook'\nurl = 'http://b'\n")
    assert [(mistake.line, mistake.key) for mistake in told.value.mistakes] == [
        (5, "target[1].url_env"),
        (6, "target[1].attempts"),
        (8, "route[1].targets"),
        (9, "route[1].repeat_interval"),
        (11, "target[2].name"),
    ]


def test_every_mistake_is_told_at_once() -> None:
    """In the order of the file."""
    with pytest.raises(AlertsFileError) as told:
        parse("x = 1\n[[route]]\ntargets = ['a']\ncolour = 3\n")
    assert [mistake.line for mistake in told.value.mistakes] == [1, 3, 4]


def test_a_changed_secret_is_another_configuration(tmp_path: Path) -> None:
    """The files of secrets are read again with the file that names them; a file that is wrong changes nothing."""
    times = iter(range(0, 1000, 10))
    (tmp_path / "key").write_text(SECRET)
    path = tmp_path / "alerts.toml"
    path.write_text('[[target]]\nname = "a"\ntype = "webhook"\nurl = "http://a"\nsecret_file = "key"\n')
    watched = watch_config(path, clock=lambda: next(times))
    first = watched.value
    assert not watched.refresh()
    (tmp_path / "key").write_text("whsec_" + base64.b64encode(bytes(24)).decode())
    assert watched.refresh()
    (tmp_path / "key").write_text("rubbish")
    assert not watched.refresh()
    assert watched.fault is not None
    assert "line 5, target[1].secret_file" in watched.fault
    assert watched.value.targets["a"].keys == (bytes(24),)
    assert first.digest != watched.value.digest


def test_a_target_says_what_its_receiver_takes() -> None:
    """`max_chars` and `max_bytes` belong to the template; the same file read again is the same target."""
    text = HOOK + 'body = \'{"content": "$text $link"}\'\nmax_chars = 2000\nmax_bytes = 30000\n'
    target = parse(text).targets["a"]
    assert target.template.limits == Limits(2000, 30000)
    assert target == parse(text).targets["a"]
    assert target != parse(text.replace("2000", "2001")).targets["a"]
    assert parse(HOOK + "template = 'discord'").targets["a"].template.source == "discord"


@pytest.mark.parametrize(
    ("more", "key"),
    [("max_chars = 10", "max_chars"), ("max_bytes = '1 MB'", "max_bytes"), ("template = 'irc'", "template")],
)
def test_a_limit_that_nothing_fits_is_refused(more: str, key: str) -> None:
    """With its line and key."""
    with pytest.raises(AlertsFileError, match=rf"line 5, target\[1\].{key}"):
        parse(HOOK + more)
