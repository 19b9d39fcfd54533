from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from steptrail.consumers.runtime.json_logging import configure_logging


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything logged while the test runs; logging is as before afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("DEBUG", stream)
    yield stream
    root.handlers[:], root.level = before


def told(lines: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_what_was_given(lines: io.StringIO) -> None:
    """Time, level, logger, message, and everything in extra=."""
    logging.getLogger("steptrail.test").info("written %d", 5, extra={"events": 5, "partitions": [1, 2]})
    [line] = told(lines)
    assert line["message"] == "written 5"
    assert (line["level"], line["logger"], line["events"], line["partitions"]) == (
        "INFO",
        "steptrail.test",
        5,
        [1, 2],
    )
    assert str(line["time"]).endswith("+00:00")


def test_an_exception_stays_on_its_line(lines: io.StringIO) -> None:
    """Its traceback is a field, newlines and all."""
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("steptrail.test").exception("failed")
    [line] = told(lines)
    assert "ValueError: no" in str(line["exception"])


def test_values_that_json_cannot_hold_do_not_break_logging(lines: io.StringIO) -> None:
    """Objects, lone surrogates, huge numbers."""
    logger = logging.getLogger("steptrail.test")
    logger.info("odd", extra={"what": object(), "text": "\ud800", "number": 10**30})
    assert len(told(lines)) == 1


def test_others_only_warn(lines: io.StringIO) -> None:
    """And the libraries whose errors we tell ourselves say nothing."""
    logging.getLogger("other").info("chatter")
    logging.getLogger("other").warning("matters")
    logging.getLogger("clickhouse_connect.driver").error("told by us")
    assert [line["message"] for line in told(lines)] == ["matters"]


def test_the_package_loads_nothing_until_it_is_used() -> None:
    """A cheap import, whatever is installed."""
    heavy = "{'confluent_kafka', 'clickhouse_connect'}"
    code = f"import steptrail.consumers, sys; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
