"""Notifications keep within what their receivers take, whatever fires, and make nobody's chat do anything."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steptrail.consumers.alerts.delivery.alertmanager import MOST_ALERTS, bodies
from steptrail.consumers.alerts.delivery.chat_text import cut, plain, units, unmentioned
from steptrail.consumers.alerts.delivery.fitting import Limits
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.delivery.templates import (
    BUILT_IN,
    MOST_SHORTER,
    Template,
    custom,
    discord,
    slack,
    standard,
)
from steptrail.consumers.alerts.model.alert import MAX_SENTENCE, Alert
from steptrail.consumers.alerts.model.engine import plan
from steptrail.consumers.alerts.model.notification import Notification, notification
from steptrail.consumers.alerts.model.policy import AlertPolicy, Route, TargetPolicy
from steptrail.consumers.health.rules import HealthStatus

SEED = 20261129
NOW = 1_790_000_000.0
DISCORD_BY_HAND = '{"content": "**$title**\\n$text"}'

PIECES = (
    "33 of the last 157 executions (21 %) failed in 15 s; ",
    "@everyone ",
    "<!channel> & <@U12345> <https://evil.example|click> ",
    "[click](https://evil.example) ",
    "👩‍👩‍👧‍👦🇩🇪é\u0301 ",
    "\x1b]52;c;aGk=\x07 \u202egnp.exe ",
    "文書を読み取れませんでした",
    '"quoted" \\ back `tick` ||x|| ',
)


def an_alert(number: int, rng: random.Random, severity: str = "WARNING") -> Alert:
    sentence = "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 60)))[:MAX_SENTENCE]
    name = rng.choice(("ocr", "process_section_", "長い名前" * 100, "a" * 1024, "@here"))
    return Alert(
        id=f"id{number}",
        episode=f"id{number}-1",
        pipeline=rng.choice(("invoices", "<!here>", "p" * 1024)),
        step=f"{name}{number}",
        severity=HealthStatus(severity),
        kind="errors",
        sentence=sentence,
        since=NOW + number,
        fired_at=NOW + number,
        examples=("doc-1", "@everyone/<b>", "x" * 3000),
        link="https://steptrail.example/pipelines/x",
    )


def an_outage(number: int) -> Notification:
    rng = random.Random(SEED + number)
    return notification("chat", "all", [an_alert(n, rng) for n in range(number)], NOW)


def _discord(body: Any) -> list[tuple[int, int]]:
    return [(len(body["content"].encode("utf-16-le")) // 2, 2000)]


def _slack(body: Any) -> list[tuple[int, int]]:
    head, *sections = body["blocks"]
    texts = [section["text"]["text"] for section in sections]
    return [
        (len(body["blocks"]), 50),
        (len(head["text"]["text"]), 150),
        (len(body["text"]), 4000),
        (max(map(len, texts)), 3000),
        (sum(map(len, texts)), 12_100),
    ]


def _content_900(body: Any) -> list[tuple[int, int]]:
    return [(units(body["content"]), 900)]


RECEIVERS: dict[str, tuple[Template, Callable[[Any], list[tuple[int, int]]]]] = {
    "discord": (discord(), _discord),
    "slack": (slack(), _slack),
    "custom": (custom(DISCORD_BY_HAND, Limits(chars=900)), _content_900),
}


def test_every_built_in_text_for_a_chat_is_tried_here_and_documented() -> None:
    """Who adds one is reminded of its limits, and of docs/alerts.md."""
    assert {*RECEIVERS, "standard"} == {*BUILT_IN, "custom"}
    page = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
    assert [name for name in BUILT_IN if name not in page] == []


@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("number", [1, 2, 3, 20, 21, 50, 100])
@pytest.mark.parametrize("shorter", [0, 1, MOST_SHORTER])
def test_a_chat_is_sent_no_more_than_it_takes(receiver: str, number: int, shorter: int) -> None:
    """From one alert to a hundred, whatever their names and messages are; and the body is JSON."""
    template, sizes = RECEIVERS[receiver]
    for size, most in sizes(json.loads(template(an_outage(number), shorter))):
        assert size <= most


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_what_is_left_out_is_counted_and_the_worst_is_named(receiver: str) -> None:
    """A hundred alerts: those that are CRITICAL come first, and named and left out are all there are."""
    template, _ = RECEIVERS[receiver]
    told = an_outage(97)
    bad = [
        replace(an_alert(200 + n, random.Random(n), "CRITICAL"), pipeline="bad", step=f"worst{n}")
        for n in range(3)
    ]
    text = template(notification("chat", "all", (*told.alerts, *bad), NOW)).decode()
    (left_out,) = re.findall(r"and (\d+) more", text)
    named = len(re.findall(r"(?:CRITICAL|WARNING) \S+/\S+", text))
    assert named + int(left_out) == 100
    assert text.index("worst0") < text.index("worst2") < text.index("WARNING")


def test_sentences_are_shortened_before_alerts_are_left_out() -> None:
    """Twenty alerts with two sentences each, which are more than Discord takes, are all named."""
    sentence = "33 of the last 157 executions (21 %) failed in 15 s; normal 1 %, threshold 10 %" * 2
    alerts = [
        replace(an_alert(n, random.Random(n)), pipeline="p", step=f"process_section_{n:02d}", link="",
                sentence=sentence, examples=())
        for n in range(20)
    ]  # fmt: skip
    content = json.loads(discord()(notification("chat", "all", alerts, NOW)))["content"]
    assert all(f"section\\_{n:02d}" in content for n in range(20))
    assert "more" not in content


@pytest.mark.parametrize("receiver", [*RECEIVERS, "standard"])
def test_shorter_is_shorter(receiver: str) -> None:
    """Each refusal for size makes the largest request smaller, down to a few hundred bytes of text."""
    template = standard() if receiver == "standard" else RECEIVERS[receiver][0]
    told = an_outage(64)
    sizes = [max(len(body) for _, body in template.parts(told, n)) for n in range(MOST_SHORTER + 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / (2 if receiver == "custom" else 4), "one that has a limit is short as it is"


@pytest.mark.parametrize(
    "template",
    [standard(Limits(bytes=30_000)), custom('{"a": "$alerts", "t": "$text"}', Limits(bytes=30_000))],
)
@pytest.mark.parametrize("shorter", [0, 2])
def test_a_program_gets_every_alert_in_as_many_bodies_as_it_takes(template: Template, shorter: int) -> None:
    """None is left out, none is told twice, each body is within the limit; each part has an id, the same each time."""
    told = an_outage(100)
    parts = template.parts(told, shorter)
    heard = [alert.id for part, _ in parts for alert in part.alerts]
    assert heard == [alert.id for alert in told.alerts]
    assert all(len(body) <= 30_000 for _, body in parts)
    assert len({part.id for part, _ in parts}) == len(parts) > 1
    assert template.parts(told, shorter) == parts


def test_a_message_that_fits_is_sent_whole_under_its_own_id() -> None:
    """Nothing is split, and nothing shortened, without need."""
    told = an_outage(3)
    ((part, body),) = standard().parts(told)
    assert part is told
    assert [each["sentence"] for each in json.loads(body)["data"]["alerts"]] == [
        alert.sentence for alert in told.alerts
    ]


@pytest.mark.parametrize("template", [slack, discord])
def test_a_limit_of_bytes_holds_for_chats_too(template: Callable[[Limits], Template]) -> None:
    """Where something before the chat takes less than the chat."""
    body = template(Limits(bytes=1500))(an_outage(30))
    assert len(body) <= 1500
    json.loads(body)


def test_alertmanager_gets_batches() -> None:
    """All alerts, at most as many in one request as it gets from Prometheus, and each request within the limit."""
    target = Target("am", "alertmanager", "http://am", most_bytes=40_000)
    told = an_outage(100)
    for shorter in (0, 3):
        requests = bodies(target, told, NOW, shorter)
        heard = [each["labels"]["alert_id"] for body in requests for each in json.loads(body)]
        assert heard == [alert.id for alert in told.alerts]
        assert all(len(body) <= 40_000 and len(json.loads(body)) <= MOST_ALERTS for body in requests)


def test_no_notification_is_more_than_kafka_takes() -> None:
    """A hundred alerts whose messages are six times as long in JSON are told in several."""
    rng = random.Random(SEED)
    alerts = [replace(an_alert(n, rng), sentence="\x07" * MAX_SENTENCE) for n in range(100)]
    policy = AlertPolicy((Route("all", ("ops",)),), {"ops": TargetPolicy("ops")})
    todo = plan({a.id: a for a in alerts}, {}, [], [], policy, NOW + 10_000)
    heard = [alert.id for each in todo.notifications for alert in each.alerts]
    assert sorted(heard) == sorted(alert.id for alert in alerts)
    assert all(len(each.to_bytes()) < 400_000 for each in todo.notifications)


# --- what a chat might obey


MENTIONS = ("@everyone", "@here", "@channel", "@All", "<!channel>", "<!here>", "<@U012AB>", "<@123>", "<@&9>",
            "<!subteam^S1>", "<#C1>", "<https://evil.example|x>", "[x](https://evil.example)",
            "<a href='https://evil.example'>x</a>")  # fmt: skip


@pytest.mark.parametrize("mention", MENTIONS)
@pytest.mark.parametrize(
    "template", [slack(), discord(), custom(DISCORD_BY_HAND)], ids=lambda t: t.source[:9]
)
@pytest.mark.parametrize("where", ["sentence", "pipeline", "step", "owner", "kind", "examples"])
def test_nothing_from_outside_is_a_mention_or_a_link(template: Template, mention: str, where: str) -> None:
    """Wherever it stands: in an error message, or in the name of a step or a document."""
    value: Any = (mention,) if where == "examples" else mention
    alert = replace(
        an_alert(1, random.Random(3)), **{"examples": (), "sentence": "bad", "step": "ocr", where: value}
    )
    text = template(notification("chat", mention, [alert], NOW)).decode()
    body = json.loads(text)
    if template.source == "discord":
        assert body["allowed_mentions"] == {"parse": []}
    if mention.startswith("[") and template.source == "slack":
        return  # that is no link in Slack
    assert mention not in json.dumps(body, ensure_ascii=False)


@pytest.mark.parametrize(
    "code", [0x00, 0x07, 0x1B, 0x7F, 0x9B, 0x200B, 0x200E, 0x202E, 0x2066, 0xFEFF, 0xE0041]
)
def test_controls_and_what_turns_text_round_are_written_out(code: int) -> None:
    """No escape sequence and no change of direction comes into a chat; the reader sees that it was there."""
    told = plain(f"a{chr(code)}b")
    assert chr(code) not in told
    assert told.startswith("a\\")
    assert told.endswith("b")
    alert = replace(an_alert(1, random.Random(3)), sentence=f"a{chr(code)}b", step=f"s{chr(code)}")
    for template in (slack(), discord(), custom('{"t": "$title $text $step $pipeline"}')):
        text = json.dumps(json.loads(template(notification("t", "g", [alert], NOW))), ensure_ascii=False)
        assert chr(code) not in text or (code == 0x200B and "@" in text)


def test_lines_of_a_message_stay_one_line() -> None:
    """An error message of several lines cannot play another alert's line."""
    assert plain("a\r\nb\u2028c\td") == "a b c d"


def test_to_the_eye_a_text_without_mentions_is_unchanged() -> None:
    """An address of mail, arrows and comparisons are no mentions."""
    for text in ("mail bob@example.com", "a < b, c <= 3 > 2", "x[3] (y)", "5 <3"):
        assert unmentioned(text) == text


# --- cutting


@pytest.mark.parametrize(
    ("text", "most", "told"),
    [
        ("short", 5, "short"),
        ("a few words more", 10, "a few…"),
        ("unbreakable", 6, "unbre…"),
        ("ab👩‍👩‍👧‍👦", 8, "ab…"),
        ("abe\u0301", 3, "ab…"),
        ("🇩🇪🇫🇷", 7, "🇩🇪…"),
        ("🇩🇪🇫🇷🇮🇹", 8, "🇩🇪…"),
        ("👍🏽x", 3, "…"),
        ("日本語日本語", 4, "日本語…"),
        ("x" * 9, 0, ""),
    ],
)
def test_a_cut_parts_no_character_and_few_words(text: str, most: int, told: str) -> None:
    """Families, accents, flags and colours of skin stay whole."""
    assert cut(text, most) == told


def test_a_cut_is_never_longer_than_asked() -> None:
    """Of any text, at any length."""
    rng = random.Random(SEED)
    for _ in range(2000):
        text = "".join(rng.choice(PIECES) for _ in range(rng.randrange(4)))
        most = rng.randrange(0, 120)
        assert units(cut(text, most)) <= max(most, 0)
