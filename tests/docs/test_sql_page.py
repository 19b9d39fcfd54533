"""docs/sql.md has every table, view and column as the migrations make them, and its queries run."""

from __future__ import annotations

import re

from docs.tables import PAGE, SECTIONS, block
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas import Settings
from support.marked_block import filled

EXAMPLES = [
    (name, shown.example.format(name=name))
    for section in SECTIONS.values()
    for name, shown in section.items()
]


def test_every_table_and_column_is_on_the_page(workspace: Settings) -> None:
    """`.venv/bin/python tests/docs/tables.py` writes them."""
    page = PAGE.read_text("utf-8")
    with connect(workspace) as clickhouse:
        assert filled(page, "tables", block(clickhouse)) == page


def test_every_query_runs(workspace: Settings) -> None:
    """Each table's example is answered, and by a user who only reads."""
    with connect(workspace) as clickhouse:
        for name, example in EXAMPLES:
            names, _ = clickhouse.table(example, settings={"readonly": 2})
            assert names, name


def test_the_clients_of_the_page_are_tested() -> None:
    """Each client of the table has its test beside the others."""
    page = PAGE.read_text("utf-8")
    table = page[page.index("| client |") : page.index("Each is run by a test")]
    named = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:]
    tests = {path.stem for path in (PAGE.parents[1] / "tests/integration").glob("test_*.py")}
    assert len(named) == 9
    wanted = {
        "cli_reader",
        "cli_sql_shell",
        "grafana",
        "engine_client",
        "engine_sqlalchemy",
        "engine_go",
        "engine_jdbc",
        "engine_node",
        "engine_dbt",
    }
    assert {f"test_{name}" for name in wanted} <= tests
