"""Migrations are numbered without gaps, and each of their statements may run twice."""

from __future__ import annotations

import re

from steptrail.projections.clickhouse.migrate import Migration, migrations

IDEMPOTENT = re.compile(
    r"^(CREATE (TABLE|VIEW|DICTIONARY|FUNCTION) IF NOT EXISTS|CREATE OR REPLACE|DROP \w+ IF EXISTS"
    r"|ALTER TABLE \w+\s+(ADD \w+ IF NOT EXISTS|(DROP|MATERIALIZE) \w+ IF EXISTS|MODIFY)"
    r"|INSERT INTO (step_executions|emitter_sequences)\s"  # idempotent aggregates
    r"|INSERT INTO erasure_key\s)"  # the earliest key holds
)


def test_versions_count_from_one_without_a_gap() -> None:
    """A missing file is seen at once, not when a table is."""
    assert [m.version for m in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_statement_may_run_twice() -> None:
    """Two processes that migrate at the same time leave the same tables."""
    for migration in migrations():
        assert migration.statements
        for statement in migration.statements:
            assert IDEMPOTENT.match(statement), f"{migration.name}: {statement[:80]}"


def test_every_column_has_a_comment() -> None:
    """People who read the tables by SQL find out there what a column means."""
    for migration in migrations():
        for statement in migration.statements:
            if not statement.startswith("CREATE TABLE"):
                continue
            body = statement[statement.index("(") : statement.rindex("ENGINE")]
            columns = re.findall(r"^    (?!INDEX|PROJECTION|--)(\w+) .*$", body, re.MULTILINE)
            commented = re.findall(r"^    (\w+) .*COMMENT '.+'", body, re.MULTILINE)
            assert columns == commented


def test_semicolons_within_a_line_do_not_cut_a_statement() -> None:
    """Statements end where a line ends with a semicolon."""
    migration = Migration(1, "x", "-- note;\nSELECT ';' AS a,\n 1;\n\nSELECT 2;\n")
    assert migration.statements == ["SELECT ';' AS a,\n 1", "SELECT 2"]
