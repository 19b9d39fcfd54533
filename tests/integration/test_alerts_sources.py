"""What the alerting consumer learns from ClickHouse, and that it goes on without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from steptrail.consumers.alerts import Alert
from steptrail.consumers.alerts.topics import read_board
from steptrail.consumers.health.rules import Finding, HealthStatus
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.reading.alert_examples import alert_examples
from steptrail.projections.reading.alert_sources import alerting_groups
from steptrail.projections.stores.health_store import latest_sight
from steptrail.schemas import Settings
from support.alerting import QUICK, START, alerting, alerts_file, publish, route, verdict, webhook
from support.effort import ONLY_IN_TEST_ALL
from support.listener import listening
from support.waiting import until

GROUP = """
INSERT INTO error_group_hours
SELECT toStartOfHour(now()), '00000000000000aa', 'invoices', 'ocr', 'Timeout', 'no answer from <addr>',
       now64(3), now64(3), 3, uniqState(toString(1)), uniqState(toString(1)), [], 1
"""
SIGHT = "INSERT INTO health_sight SELECT now64(3) - {ago}, '{state}', NULL, NULL, '{reason}', 0, 'here:1'"


def resolve(clickhouse: ClickHouse) -> None:
    clickhouse.command(
        "INSERT INTO error_group_actions "
        "SELECT '00000000000000aa', 1, generateUUIDv4(), 'RESOLVE', '', '', now64(3) + 1"
    )


def test_a_new_error_group_alerts_where_a_route_asks_for_it(workspace: Settings, tmp_path: Path) -> None:
    """And is resolved when the group is; the routes for everything else hear nothing of it."""
    with listening() as groups, listening() as rest, connect(workspace) as clickhouse:
        clickhouse.command(GROUP)
        text = QUICK + webhook("groups", groups.url) + webhook("rest", rest.url)
        text += route("groups", more='kind = "error_group"') + route("rest")
        with alerting(workspace.with_values(alerts_file=str(alerts_file(tmp_path, text)))):
            groups.wait(lambda: groups.once() == [("ocr", "firing")])
            (alert,) = groups.got[0].alerts
            assert alert["sentence"] == "a new kind of error: Timeout: no answer from <addr>"
            assert alert["labels"]["group_id"] == "00000000000000aa"
            resolve(clickhouse)
            groups.wait(lambda: groups.once() == [("ocr", "firing"), ("ocr", "resolved")])
        assert rest.got == []


@ONLY_IN_TEST_ALL
def test_a_health_consumer_that_is_silent_or_blind_is_an_alert(workspace: Settings, tmp_path: Path) -> None:
    """UNKNOWN about everything, and resolved when it sees again."""
    with listening() as ops, connect(workspace) as clickhouse:
        assert latest_sight(clickhouse) is None
        clickhouse.command(SIGHT.format(ago=500, state="SEEING", reason=""))
        settings = workspace.with_values(
            alerts_file=str(alerts_file(tmp_path, QUICK + webhook("ops", ops.url) + route("ops")))
        )
        with alerting(settings):
            ops.wait(lambda: ops.once() == [("", "firing")])
            (alert,) = ops.got[0].alerts
            assert (alert["severity"], alert["kind"]) == ("UNKNOWN", "sight")
            assert alert["sentence"].startswith("nothing has been heard of the health consumer since 20")
            clickhouse.command(SIGHT.format(ago=0, state="SEEING", reason=""))
            ops.wait(lambda: ops.once() == [("", "firing"), ("", "resolved")])
            clickhouse.command(SIGHT.format(ago=0, state="BLIND", reason="partition 3 is behind"))
            ops.wait(lambda: len(ops.got) == 3)
            assert (
                ops.got[2].alerts[0]["sentence"] == "the health consumer does not see: partition 3 is behind"
            )


@ONLY_IN_TEST_ALL
def test_without_clickhouse_verdicts_alert_all_the_same(workspace: Settings, tmp_path: Path) -> None:
    """And alerts about groups stay as they were: nothing is known of them."""
    with listening() as ops:
        text = QUICK + webhook("ops", ops.url) + route("ops", more='kind = ["*", "error_group"]')
        settings = workspace.with_values(alerts_file=str(alerts_file(tmp_path, text)))
        with connect(workspace) as clickhouse:
            clickhouse.command(GROUP)
            assert [each.group_id for each in alerting_groups(clickhouse)] == ["00000000000000aa"]
        with alerting(settings):
            ops.wait(lambda: ops.once() == [("ocr", "firing")])
            until(lambda: not read_board(workspace).sending)
        away = settings.with_values(clickhouse="http://default@127.0.0.1:9/nowhere")
        with alerting(away):
            publish(workspace, verdict("index"))
            ops.wait(lambda: ("index", "firing") in ops.once())
            publish(workspace, verdict("index", "HEALTHY"))
            ops.wait(lambda: ("index", "resolved") in ops.once())
        kinds = {alert.kind: alert.status for alert in read_board(workspace).alerts.values()}
        assert kinds == {"error_group": "firing", "errors": "resolved"}
        assert ops.once().count(("ocr", "firing")) == 1


FAILED = """
INSERT INTO steps (pipeline, doc_id, step_name, status, timestamp, broker_time, event_id, execution_id, attempt,
    details, metrics, depends_on, worker, emitter_id, sequence, topic_id, kafka_partition, kafka_offset)
SELECT 'invoices', concat('doc-', toString(number)), 'ocr', if(number < 5, 'FAILED', 'SUCCESS'),
    now64(6) - toIntervalSecond(100 - number), now64(3), generateUUIDv4(), generateUUIDv4(), 1, '{}', '{}',
    '[]', 'w', 'e', number, 't', 0, number
FROM numbers(9)
"""


def test_an_alert_names_documents_and_links_and_is_restated_for_nobody(
    workspace: Settings, tmp_path: Path
) -> None:
    """The latest three that failed, a link below the configured address; later evidence changes the record only."""
    with listening() as ops, connect(workspace) as clickhouse:
        clickhouse.command(FAILED)
        settings = workspace.with_values(
            alerts_file=str(
                alerts_file(tmp_path, QUICK.replace("200ms", "3s") + webhook("ops", ops.url) + route("ops"))
            ),
            link_base="https://look.example/steptrail/",
        )
        with alerting(settings):
            publish(workspace, verdict("ocr"), verdict("a/b", pipeline=".."))
            until(lambda: any(alert.examples for alert in read_board(workspace).alerts.values()))
            ops.wait(lambda: len(ops.once()) == 2)
            told = {each["step"]: each for got in ops.got for each in got.alerts}
            assert told["ocr"]["examples"] == ["doc-4", "doc-3", "doc-2"]
            assert told["ocr"]["link"] == "https://look.example/steptrail/pipelines/invoices/steps/ocr"
            assert told["a/b"]["link"] == "https://look.example/steptrail/pipelines/%2E%2E/steps/a%2Fb"
            assert told["a/b"]["examples"] == []
            assert told["ocr"]["evidence_at"] == "2026-09-21T14:13:25.000Z"
            later = Finding("errors", HealthStatus.WARNING, "120 of the last 360 failed", START)
            publish(workspace, replace(verdict("ocr", findings=(later,)), at=START + 300))
            until(lambda: "120 of" in _ocr(workspace).sentence)
            assert _ocr(workspace).evidence_at == START + 300
            assert _ocr(workspace).episode == told["ocr"]["episode"]
            # A new alert shows that all before it was acted on.
            publish(workspace, verdict("later"))
            ops.wait(lambda: ("later", "firing") in ops.once())
        assert ops.said().count(("ocr", told["ocr"]["episode"], "firing")) == 1


def _ocr(workspace: Settings) -> Alert:
    return next(alert for alert in read_board(workspace).alerts.values() if alert.step == "ocr")


def test_examples_of_every_kind_are_documents_or_none(workspace: Settings) -> None:
    """Failed, slow, stalled and grouped ones are asked for as the store has them; others are about no documents."""
    with connect(workspace) as clickhouse:
        clickhouse.command(FAILED)
        assert alert_examples(clickhouse, "errors", "invoices", "ocr") == ("doc-4", "doc-3", "doc-2")
        assert alert_examples(clickhouse, "parts", "invoices", "") == ("doc-4", "doc-3", "doc-2")
        assert alert_examples(clickhouse, "errors", "invoices", "index") == ()
        assert alert_examples(clickhouse, "durations", "invoices", "ocr") == ()
        clickhouse.command(FAILED.replace("attempt,\n", "attempt, duration_ms,\n").replace(
            "generateUUIDv4(), 1,", "generateUUIDv4(), 1, 100. * number,"))  # fmt: skip
        assert alert_examples(clickhouse, "durations", "invoices", "ocr") == ("doc-8", "doc-7", "doc-6")
        assert alert_examples(clickhouse, "stalled", "invoices", "ocr") == ()
        assert alert_examples(clickhouse, "error_group", "invoices", "ocr", "00000000000000aa") == ()
        assert alert_examples(clickhouse, "silence", "invoices", "ocr") == ()
