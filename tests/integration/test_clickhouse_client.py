"""What our client asks of the engine so that its answers can be trusted."""

from __future__ import annotations

from steptrail.projections.clickhouse.client import connect
from steptrail.schemas.configuration.settings import Settings


def test_an_earlier_query_hides_no_rows(workspace: Settings) -> None:
    """The engine's query condition cache gave 0 here: rows that a narrower query over a join had passed over."""
    with connect(workspace) as clickhouse:
        for statement in (
            "CREATE TABLE letters (topic String, part Int32, place Int64, at Int64) "
            "ENGINE = MergeTree ORDER BY (topic, part, place)",
            "CREATE TABLE decided (topic String, part Int32, place Int64, state String) "
            "ENGINE = MergeTree ORDER BY (topic, part, place)",
            "INSERT INTO letters SELECT 'a', 2, number, number FROM numbers(10)",
            "INSERT INTO decided SELECT 'a', 2, number * 2, 'DONE' FROM numbers(5)",
        ):
            clickhouse.command(statement)
        both = (
            "(SELECT * FROM letters ORDER BY topic, part, place, at LIMIT 1 BY topic, part, place) AS letter "
            "LEFT JOIN (SELECT topic, part, place, any(state) AS state FROM decided GROUP BY ALL) AS latest "
            "USING (topic, part, place)"
        )
        narrow = "topic IN ['a', 'b'] AND state IN ['DONE'] AND (at, part) > (100, 2)"
        assert clickhouse.query(f"SELECT letter.* FROM {both} WHERE {narrow} ORDER BY at LIMIT 200") == []
        assert clickhouse.query(f"SELECT count() FROM {both} WHERE topic IN ['a', 'b']") == [(10,)]
        assert clickhouse.query(
            "SELECT value FROM system.settings WHERE name = 'use_query_condition_cache'"
        ) == [("0",)]
