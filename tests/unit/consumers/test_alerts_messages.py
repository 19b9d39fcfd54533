"""What targets are sent: bodies, signatures, and levels from verdicts."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import orjson
import pytest

from steptrail.consumers.alerts.config.secrets import BadSecret, signing_key
from steptrail.consumers.alerts.delivery.alertmanager import payload
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.delivery.templates import BadTemplate, custom, slack, standard
from steptrail.consumers.alerts.delivery.webhook import signature
from steptrail.consumers.alerts.model.alert import MAX_SENTENCE, Alert, BadAlert, alert_id
from steptrail.consumers.alerts.model.levels import levels_of, wanted
from steptrail.consumers.alerts.model.notification import Notification, notification
from steptrail.consumers.health.rules import Finding, HealthStatus, Verdict

NASTY = 'a "quoted" <!channel> & \\ \n line $title \u0007 文書'
ALERT = Alert(
    id="ab12",
    episode="ab12-1",
    pipeline="inv",
    step="ocr",
    severity=HealthStatus.CRITICAL,
    kind="errors",
    sentence=NASTY,
    since=1_790_000_000.0,
    fired_at=1_790_000_010.0,
    owner="docs",
)


def told(*alerts: Alert) -> Notification:
    return notification("ops", "all: pipeline=inv", alerts, 1_790_000_020.0)


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks' libraries: id, time, body and secret give exactly this."""
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
    assert signature([key, key], "a", 1, b"").count("v1,") == 2


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_%%%", base64.b64encode(bytes(32)).decode(), "whsec_c2hvcnQ="]
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    """Too short, not base64, without its beginning."""
    with pytest.raises(BadSecret, match="whsec_"):
        signing_key(text)


def test_our_own_body_holds_every_field() -> None:
    """`type`, `timestamp`, `data`."""
    body = json.loads(standard()(told(ALERT, ALERT.resolved(1_790_000_015.0))))
    assert (body["type"], body["timestamp"]) == ("alerts.firing", "2026-09-21T14:13:40.000Z")
    assert body["data"]["alerts"][0] == ALERT.as_dict()
    assert body["data"]["alerts"][1]["ended_at"] == "2026-09-21T14:13:35.000Z"


def test_slack_is_told_nothing_that_it_would_obey() -> None:
    """No mention, no link out of an error message; and at most fifty blocks, whatever the number of alerts."""
    body = json.loads(slack()(told(*(replace(ALERT, step=f"s{n}") for n in range(100)))))
    text = json.dumps(body, ensure_ascii=False)
    assert "<!channel>" not in text
    assert "&lt;!channel&gt;" in text
    assert len(body["blocks"]) <= 50
    assert "and 80 more" in text


def test_a_body_of_ones_own_stays_json_whatever_is_put_in() -> None:
    """Names in texts are replaced, `$alerts` alone becomes the list; the rest is as it was."""
    template = custom('{"content": "*$status* $text", "n": 3, "all": "$alerts", "x": ["$owner", null]}')
    body = orjson.loads(template(told(ALERT)))
    assert body["content"].startswith('*firing* CRITICAL inv/ocr errors (docs): a "quoted" <')
    assert "\\ line $title \\x07 文書" in body["content"], "what is put in is not filled again"
    assert body["all"] == [ALERT.as_dict()]
    assert (body["n"], body["x"]) == (3, ["docs", None])
    with pytest.raises(BadTemplate, match="not JSON"):
        custom("{")


def test_alertmanager_gets_times_that_it_takes() -> None:
    """A start that lies ahead, or an end before it, would be refused or would fire on."""
    target = Target("am", "alertmanager", "http://am", resend=60)
    early = replace(ALERT, since=2_000_000_000.0)
    firing, ended = payload(target, told(early, early.resolved(2_000_000_000.0)), 1_790_000_030.0)
    assert firing["startsAt"] == "2026-09-21T14:13:50.000Z"
    assert firing["endsAt"] == "2026-09-21T14:17:50.000Z"
    assert ended["startsAt"] <= ended["endsAt"] <= "2026-09-21T14:13:50.000Z"
    assert firing["labels"] == ended["labels"]
    assert firing["labels"]["severity"] == "critical"


def test_one_id_for_one_content_at_one_time() -> None:
    """The same notification made again has the same id, another one another."""
    assert told(ALERT).id == told(ALERT).id
    assert told(ALERT).id != told(replace(ALERT, status="resolved")).id
    assert Notification(**vars(told(ALERT))) == told(ALERT)


# --- levels


def said(*findings: Finding, step: str | None = "ocr", status: str = "WARNING") -> bytes:
    verdict = Verdict("inv", step, HealthStatus(status), 100.0, 200.0, findings)
    return orjson.dumps({**verdict.as_dict(), "slot": 1})


def finding(rule: str = "errors", status: str = "WARNING", **more: object) -> Finding:
    return Finding(rule, HealthStatus(status), "a sentence", **more)  # type: ignore[arg-type]


def test_each_finding_that_counts_is_a_level() -> None:
    """Not healthy ones, not silenced ones; thresholds apart by what they measure."""
    levels = levels_of(
        said(
            finding("errors", "CRITICAL", since=50.0),
            finding("durations", "HEALTHY"),
            finding("silence", silenced=True),
            finding("thresholds", data={"measure": "pages"}),
            finding("thresholds", data={"measure": "bytes"}),
        )
    )
    assert [(level.kind, level.subject, level.since) for level in levels] == [
        ("errors", "", 50.0),
        ("thresholds", "pages", 100.0),
        ("thresholds", "bytes", 100.0),
    ]
    assert levels[0].id == alert_id("inv", "ocr", "errors")


def test_that_a_pipeline_is_ill_because_of_its_steps_is_an_alert_only_when_asked_for() -> None:
    """Its steps have theirs."""
    whole = levels_of(said(finding("parts"), finding("losses"), step=None))
    assert [level.kind for level in wanted([whole]).values()] == ["losses"]
    assert [level.kind for level in wanted([whole], of_pipelines=True).values()] == ["parts", "losses"]


def test_a_long_sentence_is_cut() -> None:
    """An error message of a megabyte makes no notification of a megabyte."""
    long = Finding("errors", HealthStatus.WARNING, "x" * 1_000_000)
    (level,) = levels_of(said(long))
    assert len(level.sentence) == MAX_SENTENCE


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"pipeline": 1}',
        said(finding()).replace(b"WARNING", b"BAD"),
        b"\xff\x00",
    ],
)
def test_what_is_no_verdict_is_refused(value: bytes) -> None:
    """With one error, whatever is wrong."""
    with pytest.raises(BadAlert):
        levels_of(value)
    with pytest.raises(BadAlert):
        Alert.from_bytes(value)
