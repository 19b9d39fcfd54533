"""What the alerting consumer learns from ClickHouse, and that it goes on without."""

from __future__ import annotations

from pathlib import Path

from steptrail.consumers.alerts.topics import read_board
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.reading.alert_sources import alerting_groups, latest_sight
from steptrail.schemas import Settings
from support.alerting import QUICK, alerting, alerts_file, publish, route, until, verdict, webhook
from support.listener import listening

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
