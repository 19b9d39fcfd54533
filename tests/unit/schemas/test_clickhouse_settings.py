"""Layouts of ClickHouse: which servers go with which, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError

A, B, C, D = (f"http://u:geheim@{name}:8123/local" for name in "abcd")


def hosts(settings: Settings) -> list[list[str]]:
    return [[target.host for target in replicas] for replicas in settings.clickhouse_shards()]


@pytest.mark.parametrize(
    ("layout", "servers", "expected"),
    [
        ("single", None, [["r"]]),
        ("replicated", f"{A}|{B}", [["a", "b"]]),
        ("sharded", f"{A}, {B}", [["a"], ["b"]]),
        ("sharded", A, [["a"]]),
        ("sharded_replicated", f"{A}|{B},{C} | {D}", [["a", "b"], ["c", "d"]]),
    ],
)
def test_servers_by_shard_and_replica(layout: Any, servers: str | None, expected: list[list[str]]) -> None:
    """Commas part shards, `|` replicas."""
    settings = Settings(
        kafka="k:1",
        clickhouse="http://r:8123/steptrail",
        clickhouse_layout=layout,
        clickhouse_servers=servers,
    )
    assert hosts(settings) == expected


@pytest.mark.parametrize(
    ("layout", "servers", "expected"),
    [
        ("single", A, "STEPTRAIL_CLICKHOUSE_SERVERS is set, but STEPTRAIL_CLICKHOUSE_LAYOUT is single"),
        ("sharded", None, "STEPTRAIL_CLICKHOUSE_SERVERS must name the servers"),
        ("replicated", A, "names 1 replicas of shard 0, the layout replicated has at least 2"),
        ("replicated", f"{A}|{B},{C}|{D}", "names 2 shards, the layout replicated has one"),
        ("sharded", f"{A}|{B}", "names 2 replicas of shard 0, the layout sharded has 1"),
        ("sharded_replicated", f"{A}|{B},{C}", "names 1 replicas of shard 1"),
        ("sharded", f"{A},{A}", "names a:8123 more than once"),
        ("sharded", f"{A},http://b:8123/other", "names several databases, local, other"),
        ("sharded", f"{A},http://b:8123/local,", "clickhouse_servers: the ClickHouse URL starts with http"),
        ("sharded", "http://a:8123/steptrail", "name the same database, steptrail"),
        ("clustered", A, "clickhouse_layout: Input should be 'single', 'replicated'"),
    ],
)
def test_servers_that_do_not_fit_are_refused(layout: Any, servers: str | None, expected: str) -> None:
    """With what is wrong, and without a password."""
    with pytest.raises(ConfigurationError, match=expected) as raised:
        Settings(
            kafka="k:1",
            clickhouse="http://r:8123/steptrail",
            clickhouse_layout=layout,
            clickhouse_servers=servers,
        )
    assert "geheim" not in str(raised.value)


def test_passwords_of_servers_are_secrets() -> None:
    """Shown nowhere, and taken out of messages."""
    settings = Settings(kafka="k:1", clickhouse_layout="sharded", clickhouse_servers=f"{A},{B}")
    assert "geheim" in settings.secrets()
    assert "geheim" not in repr(settings)


def test_one_user_and_password_for_all_servers() -> None:
    """The settings of their own win over the URLs'."""
    settings = Settings(
        kafka="k:1",
        clickhouse_layout="sharded",
        clickhouse_servers=f"{A},{B}",
        clickhouse_user="writer",
        clickhouse_password="other",
    )
    assert {(t.username, t.password) for [t] in settings.clickhouse_shards()} == {("writer", "other")}
