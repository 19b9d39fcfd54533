"""The alerting consumer on a real Kafka, with real HTTP listeners as targets."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from steptrail.consumers.alerts import alerts
from steptrail.consumers.alerts.run import run_alerts
from steptrail.consumers.alerts.topics import read_board
from steptrail.consumers.health.rules import Finding, HealthStatus
from steptrail.schemas import Settings
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.topics import Topics
from support.alerting import (
    QUICK,
    START,
    alerting,
    alerting_process,
    alerts_file,
    publish,
    rewind,
    route,
    verdict,
    webhook,
)
from support.effort import ONLY_IN_TEST_ALL, effort
from support.listener import listening
from support.stack import environ_of
from support.waiting import PATIENCE_S, until


def with_file(workspace: Settings, folder: Path, text: str) -> Settings:
    return workspace.with_values(alerts_file=str(alerts_file(folder, text)))


def test_firing_and_resolved_arrive_once_each_signed(workspace: Settings, tmp_path: Path) -> None:
    """A step that is ill and well again: one signed notification for each, with the episode of both the same."""
    with listening() as ops:
        text = (
            QUICK + webhook("ops", ops.url) + route("ops") + '[[owner]]\npipeline = "inv*"\nowner = "docs"\n'
        )
        with alerting(with_file(workspace, tmp_path, text)):
            publish(workspace, verdict("ocr", "CRITICAL"), verdict("index", "HEALTHY"))
            ops.wait(lambda: len(ops.got) == 1)
            publish(workspace, verdict("ocr", "HEALTHY", since=START + 60))
            ops.wait(lambda: len(ops.got) == 2)
        firing, resolved = (got.alerts[0] for got in ops.got)
    assert [got.signed for got in ops.got] == [True, True]
    assert (firing["status"], resolved["status"]) == ("firing", "resolved")
    assert firing["episode"] == resolved["episode"]
    assert firing["since"] == "2026-09-21T14:13:20.000Z"
    assert (firing["severity"], firing["owner"], firing["kind"]) == ("CRITICAL", "docs", "errors")
    assert firing["sentence"] == "ocr is CRITICAL: 33 of 157 failed"


@ONLY_IN_TEST_ALL
@pytest.mark.thorough
def test_killed_anywhere_nothing_is_lost_and_ids_stay(workspace: Settings, tmp_path: Path) -> None:
    """kill -9 amid deliveries: each firing and resolved arrives, and repeats can be told by their ids."""
    rng = random.Random(5)
    steps = [f"step{number}" for number in range(4)]
    with listening() as ops, listening() as slow:
        # Half of the answers are failures after the request was taken in: what the target knows is not known here.
        ops.behave = lambda number: 500 if number % 2 else 200

        def take_time(number: int) -> int:
            time.sleep(0.15)
            return 200

        slow.behave = take_time
        more = 'group_by = ["pipeline", "step"]\n'
        file = alerts_file(
            tmp_path,
            QUICK + more + webhook("ops", ops.url) + webhook("slow", slow.url) + route("ops", "slow"),
        )
        kills = effort(4, 12)
        for number in range(kills + 2):
            with alerting_process(workspace, file) as process:
                status = "CRITICAL" if number % 2 == 0 else "HEALTHY"
                publish(workspace, *(verdict(step, status, since=START + 100 * number) for step in steps))
                expected = "firing" if number % 2 == 0 else "resolved"
                until(partial(_are_all, workspace, expected), f"alerts that are all {expected}")
                if number < kills + 1:
                    time.sleep(rng.uniform(0.0, 1.2))
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                else:
                    until(lambda: _all_told(workspace, {"ops", "slow"}, "resolved"))
        for target in (ops, slow):
            heard = target.said()
            story: dict[str, list[tuple[str, str]]] = {step: [] for step in steps}
            for step, episode, said in heard:
                if (episode, said) not in story[step]:
                    story[step].append((episode, said))
            for step in steps:
                episodes = list(dict.fromkeys(episode for episode, _ in story[step]))
                assert story[step] == [(e, s) for e in episodes for s in ("firing", "resolved")]
            assert all(got.signed for got in target.got)
            bodies: dict[str, set[str]] = {}
            for got in target.got:
                bodies.setdefault(got.headers["webhook-id"], set()).add(json.dumps(got.body))
            assert all(len(same) == 1 for same in bodies.values()), "one id, one content"


def _status_of(workspace: Settings) -> set[str]:
    return {alert.status for alert in read_board(workspace).alerts.values()}


def _are_all(workspace: Settings, status: str) -> bool:
    return _status_of(workspace) == {status}


def _all_told(workspace: Settings, targets: set[str], status: str) -> bool:
    board = read_board(workspace)
    told = [(each.target, each.status, each.sure) for each in board.told.values()]
    return (
        not board.sending
        and len(told) == 4 * len(targets)
        and all(each[0] in targets and each[1:] == (status, True) for each in told)
    )


@ONLY_IN_TEST_ALL
def test_a_rewound_group_and_a_rebuilt_health_topic_alert_nobody_again(
    workspace: Settings, tmp_path: Path
) -> None:
    """Restarted, rewound to the beginning, and with every verdict published again: not one request more."""
    with listening() as ops:
        settings = with_file(workspace, tmp_path, QUICK + webhook("ops", ops.url) + route("ops"))
        with alerting(settings):
            publish(workspace, verdict("ocr"), verdict("index"), verdict("fetch"))
            ops.wait(lambda: len(ops.once()) == 3)
            publish(workspace, verdict("index", "HEALTHY", since=START + 60))
            ops.wait(lambda: len(ops.once()) == 4)
            until(lambda: not read_board(workspace).sending)
        before = len(ops.got)
        topics = Topics(workspace.topic_prefix)
        rewind(workspace, topics.alerts_group, topics.health.name)
        with alerting(settings):
            publish(workspace, verdict("ocr"), verdict("index"), verdict("fetch"), verdict("ocr"))
            publish(workspace, verdict("index", "HEALTHY", since=START + 60))
            # A new alert shows that all before it was read and acted on.
            publish(workspace, verdict("later", pipeline="letters"))
            ops.wait(lambda: ("later", "firing") in ops.once())
        new = [each for got in ops.got[before:] for each in got.alerts if each["step"] != "later"]
    # `index` was ill and well again on the way: whether that was seen depends on how the reads fell.
    assert {each["step"] for each in new} <= {"index"}
    assert [each for each in new if each["step"] != "index"] == []


def test_a_target_that_hangs_fails_or_redirects_delays_no_other(workspace: Settings, tmp_path: Path) -> None:
    """One hangs, one answers 500, one redirects elsewhere: the good one hears, also that the three are dead."""
    with listening() as good, listening() as hangs, listening() as fails, listening() as elsewhere:
        with listening() as moved:
            hangs.behave = _hang
            fails.behave = lambda _: 500
            moved.behave = lambda _: (307, {"Location": elsewhere.url})
            names = {"good": good, "hangs": hangs, "fails": fails, "moved": moved}
            more = 'timeout = "1s"\nattempts = 3\nretry_after = "1h"'
            text = QUICK + "".join(webhook(name, each.url, more) for name, each in names.items())
            with alerting(with_file(workspace, tmp_path, text + route(*names))):
                publish(workspace, verdict("ocr"))
                # Each of the other three is dead after its attempts, and that is an alert to the good one.
                good.wait(lambda: {*_dead(good.got)} == {"hangs", "fails", "moved"})
        assert good.once()[0] == ("ocr", "firing")
        assert len(fails.got) >= 3
        assert len({got.headers["webhook-id"] for got in fails.got[:3]}) == 1
        assert elsewhere.got == []
        assert len([got for got in moved.got if _of_step(got.body, "ocr")]) == 1, (
            "a redirect is not tried again"
        )


def test_a_target_that_does_not_answer_is_not_waited_for(workspace: Settings, tmp_path: Path) -> None:
    """While one target's answer is out, the others hear of it all."""
    answer = threading.Event()
    with listening() as hangs, listening() as good:
        hangs.behave = lambda _: 200 if answer.wait(PATIENCE_S) else 500
        text = QUICK + webhook("hangs", hangs.url, 'timeout = "100s"') + webhook("good", good.url)
        with alerting(with_file(workspace, tmp_path, text + route("hangs", "good"))):
            publish(workspace, verdict("ocr"))
            hangs.wait(lambda: len(hangs.got) == 1)
            publish(workspace, verdict("index"))
            good.wait(lambda: {*good.once()} == {("ocr", "firing"), ("index", "firing")})
            assert len(hangs.got) == 1, "it was not asked again before it answered"
            answer.set()
            hangs.wait(lambda: ("index", "firing") in hangs.once())


def _hang(_: int) -> int:
    time.sleep(3)
    return 200


def _dead(got: list[Any]) -> list[str]:
    return [each["labels"]["target"] for one in got for each in one.alerts if each["kind"] == "target"]


def _of_step(body: Any, step: str) -> bool:
    return any(each["step"] == step for each in body["data"]["alerts"])


@ONLY_IN_TEST_ALL
def test_a_dead_target_that_is_back_hears_what_it_missed(workspace: Settings, tmp_path: Path) -> None:
    """What fired and ended meanwhile is told in order, and the alert about the target is resolved at the others."""
    with listening() as good, listening() as bad:
        bad.behave = lambda number: 503 if number < 4 else 200
        more = 'attempts = 2\nretry_after = "500ms"'
        text = QUICK + webhook("good", good.url) + webhook("bad", bad.url, more) + route("good", "bad")
        with alerting(with_file(workspace, tmp_path, text)):
            publish(workspace, verdict("ocr"))
            good.wait(lambda: _dead(good.got) == ["bad"])
            publish(workspace, verdict("ocr", "HEALTHY", since=START + 60))
            good.wait(lambda: ("", "resolved") in good.once())
            bad.wait(lambda: ("ocr", "resolved") in bad.once())
        assert good.once().count(("ocr", "resolved")) == 1
    target = next(each for got in good.got for each in got.alerts if each["kind"] == "target")
    assert target["severity"] == "CRITICAL"
    assert "answered 503" in target["sentence"]


@ONLY_IN_TEST_ALL
def test_retry_after_is_honoured(workspace: Settings, tmp_path: Path) -> None:
    """A target that asks for a pause gets it, whatever the backoff says."""
    with listening() as ops:
        ops.behave = lambda number: (429, {"Retry-After": "2"}) if number == 0 else 200
        with alerting(with_file(workspace, tmp_path, QUICK + webhook("ops", ops.url) + route("ops"))):
            publish(workspace, verdict("ocr"))
            ops.wait(lambda: len(ops.got) == 2)
    assert ops.got[1].at - ops.got[0].at >= 2.0
    assert ops.got[0].headers["webhook-id"] == ops.got[1].headers["webhook-id"]


def test_a_silence_holds_back_and_what_was_told_is_ended(workspace: Settings, tmp_path: Path) -> None:
    """Made by command while the consumer runs; what fires meanwhile is told when it ends, if it still fires."""
    with listening() as ops:
        settings = with_file(workspace, tmp_path, QUICK + webhook("ops", ops.url) + route("ops"))
        with alerting(settings):
            publish(workspace, verdict("ocr"))
            ops.wait(lambda: ops.once() == [("ocr", "firing")])
            made = json.loads(
                _cli(
                    settings,
                    "alerts",
                    "silence",
                    "-p",
                    "inv*",
                    "--for",
                    "1h",
                    "--reason",
                    "x",
                    "--yes",
                    "--json",
                )
            )
            publish(workspace, verdict("index"), verdict("fetch"), verdict("other", pipeline="letters"))
            ops.wait(lambda: ("other", "firing") in ops.once())
            publish(workspace, verdict("ocr", "HEALTHY"), verdict("index", "HEALTHY"))
            ops.wait(lambda: ("ocr", "resolved") in ops.once())
            assert {step for step, _ in ops.once()} == {"ocr", "other"}
            listed = [json.loads(line) for line in _cli(settings, "alerts", "list", "--json").splitlines()]
            held = {each["step_name"]: each["held"] for each in listed}
            assert held["fetch"]["by"] == made["id"]
            assert held["other"] is None
            _cli(settings, "alerts", "expire", made["id"], "--yes")
            ops.wait(lambda: ("fetch", "firing") in ops.once())
        assert {step for step, _ in ops.once()} == {"ocr", "other", "fetch"}


def _cli(settings: Settings, *arguments: str) -> str:
    environ = environ_of(settings, STEPTRAIL_ALERTS_FILE=settings.alerts_file or "")
    done = subprocess.run(
        [sys.executable, "-m", "steptrail.deploy.cli", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_bad_reload_leaves_the_old_configuration_in_force(
    workspace: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file with a mistake changes nothing; a right one is taken without a restart, and nobody is told again."""
    with listening() as ops, listening() as other:
        text = QUICK + webhook("ops", ops.url) + route("ops")
        settings = with_file(workspace, tmp_path, text)
        with alerting(settings):
            publish(workspace, verdict("ocr"))
            ops.wait(lambda: len(ops.got) == 1)
            alerts_file(tmp_path, text + "[[target]\n")
            until(lambda: "alerts.toml, line" in caplog.text, "word of the mistake")
            publish(workspace, verdict("index"))
            ops.wait(lambda: ("index", "firing") in ops.once())
            alerts_file(tmp_path, text.replace('["ops"]', '["ops", "other"]') + webhook("other", other.url))
            other.wait(lambda: len(other.once()) == 2)
        assert len(ops.said()) == 2
    bad = workspace.with_values(alerts_file=str(alerts_file(tmp_path, "[[target]\n")))
    with pytest.raises(ConfigurationError, match=r"alerts.toml, line 1"):
        run_alerts(bad, threading.Event())


def test_rubbish_on_the_topics_stops_nothing(workspace: Settings, tmp_path: Path) -> None:
    """Records that are no verdicts, alerts or silences are passed over."""
    topics = Topics(workspace.topic_prefix)
    producer = Producer(workspace.kafka_config())
    for topic in (topics.health, topics.alerts, topics.notifications, topics.silences):
        for value in (b"", b"\xff", b"{}", b"[1]", b'{"pipeline": 3, "findings": [{}]}', None):
            producer.produce(topic.name, key=b"told\x1fx", value=value)
            producer.produce(topic.name, value=value or b"null")
    assert producer.flush(30) == 0
    with (
        listening() as ops,
        alerting(with_file(workspace, tmp_path, QUICK + webhook("ops", ops.url) + route("ops"))),
    ):
        publish(workspace, verdict("ocr"))
        ops.wait(lambda: ops.once() == [("ocr", "firing")])


def test_a_forgotten_step_is_resolved_and_a_silenced_finding_never_fires(
    workspace: Settings, tmp_path: Path
) -> None:
    """A tombstone ends what the step's alerts say."""
    quiet = Finding("errors", HealthStatus.CRITICAL, "not to be said", START, {}, silenced=True)
    with (
        listening() as ops,
        alerting(with_file(workspace, tmp_path, QUICK + webhook("ops", ops.url) + route("ops"))),
    ):
        publish(workspace, verdict("ocr"), verdict("quiet", "HEALTHY", findings=(quiet,)))
        ops.wait(lambda: len(ops.got) == 1)
        publish(workspace, forgotten=(("invoices", "ocr"),))
        ops.wait(lambda: ops.once() == [("ocr", "firing"), ("ocr", "resolved")])


@ONLY_IN_TEST_ALL
def test_alerts_of_ones_own_go_on_where_their_group_was(workspace: Settings, tmp_path: Path) -> None:
    """The iterator begins with what fires, tells of changes, and repeats only what was not dealt with."""
    settings = with_file(workspace, tmp_path, "")
    with alerting(settings):
        publish(workspace, verdict("ocr"), verdict("index"))
        until(lambda: len(read_board(workspace).alerts) == 2)
        publish(workspace, verdict("index", "HEALTHY"))
        until(lambda: _status_of(workspace) == {"firing", "resolved"})
        first = [
            (a.step, a.status)
            for a in alerts(workspace, group=f"{workspace.topic_prefix}-mine", follow=False)
        ]
        publish(workspace, verdict("ocr", "HEALTHY"), verdict("fetch"))
        until(lambda: len(read_board(workspace).alerts) == 3)
        until(
            lambda: (
                [a.status for a in read_board(workspace).alerts.values() if a.step == "ocr"] == ["resolved"]
            )
        )
        broken = alerts(workspace, group=f"{workspace.topic_prefix}-mine", follow=False)
        one = next(broken)
        broken.close()  # type: ignore[attr-defined]
        rest = list(alerts(workspace, group=f"{workspace.topic_prefix}-mine", follow=False))
    assert first == [("ocr", "firing")]
    assert one in rest, "what was being dealt with comes again"
    assert {(a.step, a.status) for a in rest} == {("ocr", "resolved"), ("fetch", "firing")}
