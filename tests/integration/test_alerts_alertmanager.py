"""The alerting consumer and a real Alertmanager."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from steptrail.schemas import Settings
from support.alerting import QUICK, START, alerting, alerts_file, publish, route, verdict
from support.alertmanager import running_alertmanager
from support.listener import listening
from support.waiting import until


def test_an_alertmanager_is_told_kept_told_and_told_of_the_end(workspace: Settings, tmp_path: Path) -> None:
    """It knows the alert with its severity, past the time at which it would have forgotten it, and of its end."""
    with listening(None) as receiver, running_alertmanager(tmp_path, receiver) as manager:
        target = f'[[target]]\nname = "am"\ntype = "alertmanager"\nurl = "{manager.url}"\nresend = "1s"\n'
        file = alerts_file(tmp_path, QUICK + target + 'labels = { site = "here" }\n' + route("am"))
        with alerting(workspace.with_values(alerts_file=str(file))):
            publish(workspace, verdict("ocr"))
            until(lambda: [_seen(each) for each in manager.alerts()] == [("ocr", "warning")])
            (known,) = manager.alerts()
            assert known["startsAt"] == "2026-09-21T14:13:20.000Z"
            assert known["labels"]["site"] == "here"
            assert known["annotations"]["summary"] == "ocr is WARNING: 33 of 157 failed"
            time.sleep(6)  # it forgets what it was not told of for four seconds
            assert [_seen(each) for each in manager.alerts()] == [("ocr", "warning")]
            publish(workspace, verdict("ocr", "CRITICAL"))
            until(lambda: [_seen(each) for each in manager.alerts()] == [("ocr", "critical")])
            publish(workspace, verdict("ocr", "HEALTHY", since=START + 60))
            until(lambda: manager.alerts() == [])
            receiver.wait(lambda: len(_stories(receiver.got)) == 4)
        assert sorted(_stories(receiver.got)) == [
            ("ocr", "critical", "firing"),
            ("ocr", "critical", "resolved"),
            ("ocr", "warning", "firing"),
            ("ocr", "warning", "resolved"),
        ]


def _seen(alert: dict[str, Any]) -> tuple[str, str]:
    return alert["labels"]["step"], alert["labels"]["severity"]


def _stories(got: list[Any]) -> list[tuple[str, str, str]]:
    """What Alertmanager told on: each once."""
    told = [(*_seen(each), each["status"]) for one in got for each in one.body["alerts"]]
    return list(dict.fromkeys(told))
