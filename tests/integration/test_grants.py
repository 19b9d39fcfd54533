"""Every part of the pipeline as a user who has only what `steptrail grants` gives it, as far as the engine enforces it.

The engine enforces rights on tables, views, columns, DDL and wildcards; neither those on table engines nor on system
tables, and it has no SQL for users, roles and policies: of these the parser alone is asked.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from steptrail.consumers.alerts.topics import read_board
from steptrail.consumers.health.check import HealthCheckManager
from steptrail.consumers.rebuild import rebuilding
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.access.analyst import row_conditions, visible_relations
from steptrail.projections.access.parts import parts
from steptrail.projections.access.relations import relations
from steptrail.projections.access.statements import Granting
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.errors import StoreRefused
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.lifecycle.shadow_tables import Side
from steptrail.projections.stores.error_groups import set_rule
from steptrail.projections.stores.expected_steps import declare_expected_steps
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.status import ProcessingStatus as S
from steptrail.schemas.topics import ensure_topics
from support.alerting import QUICK, alerting, alerts_file, route, webhook
from support.engine import EngineServer, running_engine
from support.judging import health_consumers
from support.listener import listening
from support.projecting import produce, projecting
from support.stack import Stack
from support.waiting import until
from support.web import serving

PROGRAM = (str(Path(__file__).parents[1] / "support" / "granted_engine.py"),)
EVERYBODY = [part.name for part in parts()]


@dataclass(frozen=True)
class Granted:
    """An engine with a user for each part, and settings with which a part uses it."""

    engine: EngineServer
    base: Settings
    refusals: Path

    def of(self, user: str) -> Settings:
        url = f"http://{user}:{self.engine.password}@127.0.0.1:{self.engine.port}/steptrail"
        return self.base.with_values(clickhouse=url)

    def refused(self) -> str:
        """What was refused so far, a line for each right."""
        return self.refusals.read_text() if self.refusals.exists() else ""


@pytest.fixture
def granted(stack: Stack) -> Iterator[Granted]:
    """Migrated by the migrator; topics of their own on the stack's Kafka."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-granted-"))
    refusals = folder / "data" / "refusals"
    try:
        with running_engine(folder, program=PROGRAM, environ={"REFUSALS": str(refusals)}) as engine:
            prefix = f"test_{secrets.token_hex(5)}"
            granted = Granted(engine, Settings(kafka=stack.kafka, topic_prefix=prefix), refusals)
            with connect(granted.of("migrator")) as clickhouse:
                migrate(clickhouse)
            ensure_topics(granted.base)
            yield granted
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_pipeline_runs_with_the_least_rights(granted: Granted, tmp_path: Path) -> None:
    """Events become rows, verdicts, error groups and alerts, people read and decide, and nobody is refused a right."""
    invoices = granted.of("analyst").with_values(pipeline="invoices")
    with ExitStack() as running:
        ops = running.enter_context(listening())
        config = QUICK + webhook("ops", ops.url) + route("ops", more='kind = ["*", "error_group"]')
        running.enter_context(projecting(granted.of("projector")))
        running.enter_context(health_consumers(granted.of("health")))
        running.enter_context(
            alerting(granted.of("alerts").with_values(alerts_file=str(alerts_file(tmp_path, config))))
        )
        manager = ProcessingStepManager(open_storage(invoices))
        for number in range(40):
            doc = f"invoice-{number}"
            manager.add_step(doc, "ocr", S.RUNNING)
            manager.add_step(doc, "ocr", S.ERROR if number % 2 else S.SUCCESS, error_message="no answer")
        manager.add_step("waits", "ocr", S.PENDING)
        assert manager.flush(60) == 0
        produce(granted.base, [b"no event %d" % number for number in range(3)])
        assert manager.wait_projected(60)
        assert manager.get_steps("invoice-1")[-1].status is S.ERROR

        analyst = running.enter_context(connect(invoices))
        for table in ("dead_letters", "error_groups", "step_minutes", "health_state", "emitter_reports"):
            until(partial(_count, analyst, table), table)
        until(
            lambda: "firing" in {alert.status for alert in read_board(granted.base).alerts.values()}, "alert"
        )
        ops.wait(lambda: ops.got != [])
        HealthCheckManager(invoices).perform_health_check()

        with connect(granted.of("operator")) as operator:
            declare_expected_steps(operator, "invoices", ["fetch", "ocr"])
            set_rule(operator, by="me", new_for=timedelta(days=2))
        _use_the_web(granted)
        _rebuild(granted.of("rebuild"))
    assert granted.refused() == ""


def _rebuild(settings: Settings) -> None:
    """To and fro, and compared."""
    never = threading.Event()
    with connect(settings) as clickhouse:
        made = rebuilding.start(clickhouse, rebuilding.plan(settings, clickhouse))
        rebuilding.go_on(settings, clickhouse, made, never, lambda _: None)
        for side in (Side.NEW, Side.OLD):
            there = rebuilding.required(rebuilding.current(clickhouse))
            assert rebuilding.compare(settings, clickhouse, there).differences == ()
            rebuilding.exchange(settings, clickhouse, there, side, never, lambda _: None, by="me")
        rebuilding.drop(clickhouse, rebuilding.required(rebuilding.current(clickhouse)))


def _count(clickhouse: ClickHouse, table: str) -> int:
    return int(clickhouse.query(f"SELECT count() FROM {table}")[0][0])


def _use_the_web(granted: Granted) -> None:
    """Every question of the API, every page, and each change that people make there."""
    with serving(granted.of("web")) as api:
        groups = api.get("/error-groups").json["items"]
        questions = [
            path
            for path, methods in api.get("/openapi.json").json["paths"].items()
            if "get" in methods and "{" not in path and not path.endswith("live")
        ]
        assert len(questions) > 15
        for path in questions:
            reply = api.get(
                path.removeprefix("/api/v1"), doc_id="invoice-1", q="invoice", pipeline="invoices"
            )
            assert reply.status < 500, (path, reply.body)
        for page in ("/", "/documents", "/errors", "/operations"):
            assert api.get(f"/{page}").status < 500, page
        group = groups[0]["group_id"]
        assert api.post(f"/error-groups/{group}/resolve", {"reason": "mended"}).status == 200
        assert (
            api.post("/dead-letters/drop", {"dry_run": False, "everything": True, "note": "x"}).status == 200
        )


@pytest.mark.parametrize(
    ("user", "statement"),
    [
        ("migrator", "DROP TABLE steps"),
        ("migrator", "TRUNCATE TABLE steps"),
        ("projector", "INSERT INTO health_verdicts (pipeline) VALUES ('x')"),
        ("projector", "SELECT count() FROM error_group_actions"),
        ("projector", "DROP TABLE steps"),
        ("projector", "ALTER TABLE emitter_sequences DELETE WHERE 1"),
        ("projector", "TRUNCATE TABLE projection_claims"),
        ("projector", "CREATE TABLE other (x UInt8) ENGINE = Memory"),
        ("projector", "CREATE TABLE stage_health_1 (x UInt8) ENGINE = Memory"),
        ("health", "INSERT INTO steps (pipeline) VALUES ('x')"),
        ("health", "CREATE TABLE stage_steps_1 (x UInt8) ENGINE = Memory"),
        ("health", "INSERT INTO schema_migrations (version) VALUES (99)"),
        ("alerts", "INSERT INTO error_group_actions (group_id) VALUES ('x')"),
        ("alerts", "SELECT count() FROM dead_letters"),
        ("web", "INSERT INTO steps (pipeline) VALUES ('x')"),
        ("web", "INSERT INTO expected_steps_declarations (pipeline) VALUES ('x')"),
        ("web", "ALTER TABLE steps DELETE WHERE 1"),
        ("operator", "INSERT INTO projection_ledger (partition) VALUES (1)"),
        ("operator", "DROP TABLE steps"),
        ("analyst", "INSERT INTO error_group_actions (group_id) VALUES ('x')"),
        ("analyst", "CREATE TABLE mine (x UInt8) ENGINE = Memory"),
        ("analyst_limited", "SELECT count() FROM health_snapshots"),
        ("analyst_limited", "SELECT count() FROM projection_claims"),
    ],
)
def test_nobody_has_more(rights: Granted, user: str, statement: str) -> None:
    """What is not a part's to do is refused to it, and changes nothing."""
    with connect(rights.of(user)) as clickhouse, pytest.raises(StoreRefused, match="Not enough privileges"):
        clickhouse.command(statement) if not statement.startswith("SELECT") else clickhouse.query(statement)
    assert f"{user}: " in rights.refused()  # what the pipeline's test looks at


@pytest.fixture(scope="module")
def rights() -> Iterator[Granted]:
    """A migrated engine; no Kafka."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-granted-"))
    refusals = folder / "data" / "refusals"
    conditions = row_conditions("steptrail", ("invoices",))
    try:
        with running_engine(folder, program=PROGRAM, environ={"REFUSALS": str(refusals)}) as engine:
            granted = Granted(engine, Settings(kafka="127.0.0.1:1"), refusals)
            with connect(granted.of("migrator")) as clickhouse:
                migrate(clickhouse)
            _fill(engine)
        environ = {"REFUSALS": str(refusals), "LIMITED": json.dumps(conditions)}
        with running_engine(folder, program=PROGRAM, environ=environ) as engine:
            yield Granted(engine, Settings(kafka="127.0.0.1:1"), refusals)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(engine: EngineServer) -> None:
    """A row of each of two pipelines in every table with a pipeline, and in those whose rows are about such rows."""
    for name, relation in relations().items():
        if "pipeline" in relation.columns:
            for pipeline in ("invoices", "payroll"):
                engine.ask(f"INSERT INTO {name} (pipeline) VALUES ('{pipeline}')")
    for pipeline in ("invoices", "payroll"):
        engine.ask(
            f"INSERT INTO error_group_hours (pipeline, group_id) VALUES ('{pipeline}', 'of {pipeline}')"
        )
        engine.ask(
            f"INSERT INTO error_group_actions (group_id, reason) VALUES ('of {pipeline}', '{pipeline}')"
        )
        engine.ask(f"INSERT INTO dead_letters (topic, pipeline) VALUES ('{pipeline}', '{pipeline}')")
        engine.ask(f"INSERT INTO dead_letter_decisions (topic) VALUES ('{pipeline}')")


def test_an_analyst_of_a_pipeline_sees_no_other(rights: Granted) -> None:
    """Of every table and view that is theirs to read, only rows of their pipelines are there."""
    seen = 0
    with connect(rights.of("analyst_limited")) as clickhouse:
        for name in visible_relations():
            rows = b"".join(clickhouse.stream(f"SELECT * FROM {name} FORMAT JSONEachRow"))
            assert b"payroll" not in rows, name
            seen += b"invoices" in rows
    assert seen >= 20


def test_whoever_reads_a_view_may_read_what_it_reads(rights: Granted) -> None:
    """Each view of a part can be selected from by it."""
    for part in parts():
        with connect(rights.of(part.name)) as clickhouse:
            for right in part.rights:
                if "SELECT" in right.privileges and right.name in relations():
                    clickhouse.command(f"SELECT * FROM {right.name} LIMIT 1 FORMAT Null")


@pytest.mark.parametrize("cluster", [None, "events"])
def test_every_statement_is_sql(rights: Granted, cluster: str | None) -> None:
    """ClickHouse's own parser takes every statement, as one; with odd names of pipelines and databases, too."""
    granting = Granting("my `steps`", "tracking", cluster)
    odd = ["in'voices", "back\\slash", "zwei\nZeilen", "Ω"]
    statements = [each for part in parts() for each in granting.part(part)]
    statements += [*granting.analyst(), *granting.analyst("anna", odd)]
    with connect(rights.of("analyst")) as clickhouse:
        for each in statements:
            [(printed,)] = clickhouse.query("SELECT formatQuerySingleLine({sql:String})", {"sql": each.sql})
            assert printed.split()[0] == each.sql.split()[0]
            assert "\n" not in each.comment
