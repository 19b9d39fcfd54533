"""Every query of the dashboards on the real engine, as its user who only reads, on events of real workers.

Grafana's server is not part of this: `support.grafana` does what it and the datasource's plugin do to a query.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas import ProcessingStatus, Settings
from steptrail.schemas.topics import ensure_topics
from support.engine import EngineServer, running_engine
from support.grafana import ALL, Look
from support.hostile import NAME
from support.judging import HealthProcess
from support.letters import set_aside
from support.projecting import projecting
from support.stack import Stack
from support.waiting import until

RUNNING, SUCCESS, ERROR = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS, ProcessingStatus.ERROR
FILES = sorted((Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards").glob("*.json"))
#: Names as hard as they come for whoever puts them into SQL.
HARD = ("it's \\' OR 1=1 --\\", NAME)
FILLED = ("step_minute_rows", "error_group_hours", "health_state", "dead_letters", "emitter_reports")
#: The types that the datasource makes numbers, times and texts of.
_TIME = r"DateTime(?:64\(\d(?:, '\w+')?\)|\('\w+'\))?"
KNOWN = re.compile(
    rf"(?:LowCardinality\(|Nullable\()*(?:String|Bool|U?Int(?:8|16|32|64)|Float(?:32|64)|{_TIME})\)*"
)
#: What is empty while all is well: nothing was lost, nothing is stuck, nothing expired.
MAY_BE_EMPTY = {("steptrail-step", "Stuck"), ("steptrail-operations", "Losses")}


class Panel(NamedTuple):
    """A panel of a dashboard."""

    board: str
    kind: str
    title: str
    sql: str
    content: dict[str, Any]


PANELS = [
    Panel(board["uid"], panel["type"], panel["title"], panel["targets"][0]["rawSql"], panel)
    for board in (json.loads(file.read_text("utf-8")) for file in FILES)
    for panel in board["panels"]
]
VARIABLES = {
    (board["uid"], variable["name"]): variable["query"]
    for board in (json.loads(file.read_text("utf-8")) for file in FILES)
    for variable in board["templating"]["list"]
    if variable["type"] == "query"
}


class Answer(NamedTuple):
    """Columns' names and types, and the rows."""

    types: dict[str, str]
    rows: list[list[Any]]


class World(NamedTuple):
    """An engine that has what three pipelines did."""

    engine: EngineServer
    start: int

    def ask(self, sql: str) -> Answer:
        """As the user who only reads."""
        reply = self.engine.send(
            body=sql.encode(),
            headers=self.engine.reader,
            login=False,
            database="steptrail",
            default_format="JSONCompact",
        )
        assert reply.status == 200, f"{reply.text}\n{sql}"
        told = json.loads(reply.body)
        return Answer({column["name"]: column["type"] for column in told["meta"]}, told["data"])

    def look(
        self, chosen: dict[str, tuple[str, ...]], known: dict[str, tuple[str, ...]] | None = None
    ) -> Look:
        return Look(self.start - 3600, int(time.time()) + 60, 60, chosen, known or {})


@pytest.fixture(scope="module")
def world(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Events on the real Kafka, projected, judged and counted into an engine of its own."""
    start = int(time.time())
    with running_engine(tmp_path_factory.mktemp("engine")) as engine:
        url = f"http://default:{engine.password}@127.0.0.1:{engine.port}/steptrail"
        settings = Settings(kafka=stack.kafka, clickhouse=url, topic_prefix=f"grafana_{secrets.token_hex(4)}")
        with connect(settings) as clickhouse:
            migrate(clickhouse)
            ensure_topics(settings)
            with projecting(settings), closing(_Health(settings)):
                for pipeline in ("invoices", *HARD):
                    _work(settings, pipeline)
                set_aside(settings, [b"no event"])
                for table in FILLED:
                    until(partial(clickhouse.query, f"SELECT 1 FROM {table} LIMIT 1"), table)
                counted = "SELECT uniqExact(pipeline) FROM step_minute_rows"
                until(lambda: clickhouse.query(counted) == [(3,)], "the minutes of every pipeline")
                yield World(engine, start)


class _Health(HealthProcess):
    def close(self) -> None:
        self.kill()
        self.log.close()


def _work(settings: Settings, pipeline: str) -> None:
    with emit_only(settings.with_values(pipeline=pipeline)) as storage:
        manager = ProcessingStepManager(storage)
        for number in range(5):
            manager.add_step(f"scan_{number}", "ocr", RUNNING)
            manager.add_step(f"scan_{number}", "ocr", SUCCESS, metrics={"duration_ms": 12.5, "pages": number})
        for step in ("ocr", NAME):
            manager.add_step("scan_9", step, RUNNING)
            manager.add_step("scan_9", step, ERROR, error_message=f"no answer: {NAME}")
        assert storage.flush(60) == 0


def _hex(name: str) -> str:
    return name.encode().hex().upper()


def _choices(world: World, panel: Panel) -> Iterator[Look]:
    """All of everything, where that can be chosen; and each hard name."""
    known = {"pipeline": tuple(map(_hex, ("invoices", *HARD))), "step": tuple(map(_hex, ("ocr", NAME)))}
    if ":raw}" not in panel.sql:
        yield world.look({"pipeline": ALL, "step": ALL}, known)
        yield world.look({"pipeline": known["pipeline"], "step": known["step"]}, known)
    for name in ("invoices", *HARD):
        yield world.look({"pipeline": (_hex(name),), "step": (_hex("ocr"),)}, known)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel.board}: {panel.title}")
def test_a_panel_gets_what_it_shows(panel: Panel, world: World) -> None:
    """Each query is answered to the reader, whatever is chosen, in columns of the types that such a panel needs."""
    filled = 0
    for look in _choices(world, panel):
        types, rows = world.ask(look.expand(panel.sql))
        filled += bool(rows)
        assert [kind for kind in types.values() if not KNOWN.fullmatch(kind)] == []
        if panel.kind == "timeseries":
            _check_series(types, rows)
        elif panel.kind == "stat":
            (kind,) = types.values()
            assert len(rows) == 1
            assert _is_number(kind)
        else:
            assert panel.kind == "table"
            _check_table(panel, types)
    assert filled or (panel.board, panel.title) in MAY_BE_EMPTY


def _check_series(types: dict[str, str], rows: list[list[Any]]) -> None:
    """A time first, then numbers, with at most one column of names between."""
    (time_name, time_type), *others = types.items()
    assert time_name == "time"
    assert time_type.startswith("DateTime")
    names = [kind for _, kind in others if "String" in kind]
    assert len(names) <= 1
    assert all(_is_number(kind) for _, kind in others if "String" not in kind)
    assert len(others) > len(names)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def _check_table(panel: Panel, types: dict[str, str]) -> None:
    """Every column that is hidden, or that a link needs, is there."""
    content = json.dumps(panel.content)
    needed = set(re.findall(r"__data\.fields\.(\w+)", content))
    overridden = {each["matcher"]["options"] for each in panel.content["fieldConfig"]["overrides"]}
    assert needed | (overridden - {"status", "verdict"}) <= set(types), panel.title


def _is_number(kind: str) -> bool:
    return re.fullmatch(r"(?:Nullable\()?(?:U?Int\d+|Float\d+|Nothing)\)?", kind) is not None


def test_a_choice_narrows(world: World) -> None:
    """A pipeline that is chosen is the only one that is shown, however hard its name."""
    panel = next(
        each
        for each in PANELS
        if (each.board, each.title) == ("steptrail-overview", "Failing now") and each.kind == "table"
    )
    for name in HARD:
        types, rows = world.ask(world.look({"pipeline": (_hex(name),), "step": ALL}).expand(panel.sql))
        at = list(types).index("pipeline")
        assert {row[at] for row in rows} == {name}


@pytest.mark.parametrize("variable", VARIABLES, ids=" ".join)
def test_a_variable_has_its_values(variable: tuple[str, str], world: World) -> None:
    """Two columns, the value in hexadecimal digits and the name."""
    look = world.look({"pipeline": (_hex("invoices"),), "step": ALL})
    types, rows = world.ask(look.expand(VARIABLES[variable]))
    assert [kind.replace("LowCardinality(String)", "String") for kind in types.values()] == [
        "String",
        "String",
    ]
    assert {(value, _hex(name)) for value, name in rows} == {(_hex(name), _hex(name)) for _, name in rows}
    assert len(rows) >= 2
