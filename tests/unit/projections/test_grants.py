"""What each part may do in ClickHouse, as one list."""

from __future__ import annotations

import re

from steptrail.projections.access.parts import parts
from steptrail.projections.access.relations import MIGRATIONS_TABLE, relations, with_what_they_read
from steptrail.projections.access.statements import Granting
from steptrail.projections.lifecycle.shadow_tables import REBUILT
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES


def _sql(*, analyst: str | None = None, pipelines: tuple[str, ...] = ()) -> list[str]:
    granting = Granting()
    if analyst is not None:
        return [each.sql for each in granting.analyst(analyst, pipelines)]
    return [each.sql for part in parts() for each in granting.part(part)]


def test_rights_name_what_there_is() -> None:
    """Every table and view in the list is one that the migrations make, or a pattern of stages."""
    for part in parts():
        for right in part.rights:
            if right.of == "steptrail" and not right.name.endswith("*"):
                assert right.name in {*relations(), MIGRATIONS_TABLE}


def test_views_bring_what_they_read() -> None:
    """Whoever may select from a view may select from its tables, through other views too."""
    assert with_what_they_read(["stuck_work"]) == [
        *("steps", "step_executions", "step_state", "emitter_reports", "observations"),
        *("stalls_said", "stall_state", "stalls", "stuck_work"),
    ]


def test_no_part_that_runs_may_change_tables() -> None:
    """Only the migrator alters or creates anything but stages, nobody truncates or grants; rows go by who erases and by
    who applies retention, from tables with events alone; who rebuilds drops and creates what is rebuilt, and no more.
    """
    removing = {"ALTER DELETE", "ALTER MATERIALIZE PROJECTION"}
    erasable = {table.name for table in EVENT_TABLES} | {"rebuild_*", "before_*"}
    rebuilt = {*REBUILT, "rebuild_*", "before_*"}
    for part in parts():
        for right in part.rights:
            stage = right.name.startswith("stage_") and right.name.endswith("_*")
            if part.name == "backup":
                allowed = {
                    "SELECT",
                    "BACKUP",
                    "READ",
                    "WRITE",
                    *(["INSERT"] if right.name == "backups" else []),
                }
                assert set(right.privileges.split(", ")) <= allowed
            elif part.name != "migrator" and not stage:
                more = set(right.privileges.split(", ")) - {"SELECT", "INSERT", "TABLE ENGINE"}
                if part.name == "rebuild" and right.name in rebuilt:
                    more -= {"CREATE TABLE", "DROP TABLE"}
                assert not more or (
                    part.name in ("projector", "operator", "rebuild") and right.name in erasable
                )
                assert more <= removing
            rebuilds = part.name == "rebuild" and right.name in rebuilt
            assert "DROP TABLE" not in right.privileges or stage or rebuilds
            assert "TRUNCATE" not in right.privileges


def test_policies_for_all_others_come_first() -> None:
    """Before any row is hidden from anybody, on each table, everybody else has a policy that shows all rows."""
    statements = _sql(analyst="anna", pipelines=("invoices",))
    shown: set[str] = set()
    hidden = 0
    for sql in statements:
        policy = re.match(r"CREATE ROW POLICY .* ON (\S+) USING (.+) TO (.+)", sql)
        if policy is None:
            continue
        if policy[3] == "ALL EXCEPT steptrail_limited":
            assert policy[2] == "1"
            shown.add(policy[1])
        else:
            assert policy[1] in shown
            hidden += 1
    assert hidden == len(shown) > 10
    assert "GRANT steptrail_limited TO steptrail_analyst_anna" in statements


def test_no_user_can_be_made_without_a_hash() -> None:
    """In the place of each password stands what is no SHA-256, so that ClickHouse refuses it."""
    users = [sql for sql in [*_sql(), *_sql(analyst="anna")] if sql.startswith("CREATE USER")]
    assert len(users) == len(parts()) + 1
    for sql in users:
        found = re.search(r"IDENTIFIED WITH sha256_hash BY '(\w+)'", sql)
        assert found is not None
        assert re.fullmatch(r"[0-9a-fA-F]{64}", found[1]) is None
