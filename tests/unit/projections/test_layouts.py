"""What each layout makes of the migrations."""

from __future__ import annotations

from steptrail.projections.clickhouse.layouts import CLAIMS, Reading, Replica, Single
from steptrail.projections.clickhouse.migrate import migrations
from steptrail.projections.cluster.databases import databases, distributed_tables, statements
from support.layouts import LAYOUTS

SOURCE = [statement for migration in migrations() for statement in migration.statements]


def made(layout: str, number: int) -> list[str]:
    return list(statements(databases(LAYOUTS[layout])[number]))


def creating(sql: list[str], name: str) -> str:
    head = f"CREATE TABLE IF NOT EXISTS {name}"
    [found] = [each for each in sql if each.startswith((f"{head}\n", f"{head} "))]
    return found


def test_a_single_store_gets_the_source_as_it_stands() -> None:
    """Byte for byte."""
    assert made("single", 0)[2:] == SOURCE
    assert [each.rendering for each in databases(LAYOUTS["single"])] == [Single()]


def test_a_shard_is_what_a_single_store_is() -> None:
    """So what is proven of one holds for the other."""
    for number in (0, 1):
        assert made("sharded", number)[2:] == SOURCE


def test_every_table_of_a_replica_is_replicated_and_remembers_no_blocks() -> None:
    """All but the claims, which are rows of Keeper."""
    for sql in made("replicated", 0)[2:]:
        if sql.startswith("CREATE TABLE") and CLAIMS not in sql.splitlines()[0]:
            assert "ENGINE = Replicated" in sql
            assert "'{replica}'" in sql
            assert "replicated_deduplication_window = 0" in sql
    claims = creating(made("replicated", 0), CLAIMS)
    assert "KeeperMap(concat('/steptrail/steptrail_local/projection_claims/', getMacro('shard'))" in claims
    assert "'{replica}', broker_time)" in creating(made("replicated", 0), "steps")


def test_rows_of_a_migration_are_written_by_the_first_replica_alone() -> None:
    """The others fetch them."""
    inserts = [sql for sql in SOURCE if sql.startswith("INSERT")]
    assert inserts
    for position, wanted in ((0, inserts), (1, []), (2, [])):
        assert [sql for sql in made("replicated", position) if sql.startswith("INSERT")] == wanted


def test_the_reading_database_reads_what_projections_write_from_all_shards() -> None:
    """Without a sharding key, so that ClickHouse refuses to insert into them; the other tables are as they were."""
    sql = made("sharded", 2)
    for name in distributed_tables():
        assert creating(sql, name).endswith(f"ENGINE = Distributed('steptrail', 'steptrail_local', '{name}')")
    others = [
        each for each in SOURCE if each.startswith("CREATE") and each.split()[5] not in distributed_tables()
    ]
    assert [each for each in sql[2:] if each in others] == others
    assert not any(each.startswith(("INSERT INTO step", "INSERT INTO emitter")) for each in sql)
    assert not any("ADD INDEX" in each or "MODIFY SETTING" in each for each in sql)
    assert any("ADD COLUMN IF NOT EXISTS clock_offset_ms" in each for each in sql)


def test_the_replicas_of_two_shards() -> None:
    """Four servers that are written to, and the database for reading."""
    found = [(each.is_what, type(each.rendering)) for each in databases(LAYOUTS["sharded_replicated"])]
    assert found == [
        ("shard 0, replica 0", Replica),
        ("shard 0, replica 1", Replica),
        ("shard 1, replica 0", Replica),
        ("shard 1, replica 1", Replica),
        ("for reading", Reading),
    ]
