"""The migrations' statements as each layout needs them, rendered from the one source in `migrations/`.

- `single`: as they stand.
- A **server that is written to** holds all tables, whatever the layout: a shard is what a single store is. Where it has
  replicas, every engine becomes the replicated one of its family, and the claims a KeeperMap, whose writes are
  linearizable. Each replica is migrated by itself, so nothing waits for a replica that is down.
- The **reading database** of a sharded layout holds the tables that projections write as Distributed ones over all
  shards. They have no sharding key, so ClickHouse refuses inserts into them. All its other tables and all views are as
  in a single store: one health consumer writes them, and people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

CLAIMS: Final = "projection_claims"
MOST_CLAIMS: Final = 100_000
"""Bound of the claims' KeeperMap: one row for each projection and partition, each a node in Keeper."""

_HEAD: Final = re.compile(r"^(CREATE TABLE IF NOT EXISTS|INSERT INTO|ALTER TABLE) (\w+)([^\n(]*)")
_ENGINE: Final = re.compile(r"^ENGINE = (\w*MergeTree)(?:\((.*)\))?$", re.MULTILINE)
_ORDER: Final = re.compile(r"^ORDER BY .*$", re.MULTILINE)
_SETTINGS: Final = re.compile(r"^SETTINGS ", re.MULTILINE)
_END: Final = re.compile(r"^COMMENT '(?:[^']|'')*'\Z", re.MULTILINE)

# The ledger decides what is new: a block like an earlier one must not vanish.
_REPLICATED_SETTINGS: Final = (
    "replicated_deduplication_window = 0, replicated_deduplication_window_for_async_inserts = 0"
)


@dataclass(frozen=True)
class Single:
    """One server."""

    def render(self, statement: str) -> Iterator[str]:
        """The statement as it stands."""
        yield statement


@dataclass(frozen=True)
class Replica:
    """A replica in database `database`; `first` of its shard: it also runs the statements that write rows.

    The macros `{shard}` and `{replica}` of ClickHouse's configuration complete the paths in Keeper.
    """

    database: str
    first: bool = True

    def render(self, statement: str) -> Iterator[str]:
        """The statement with replicated engines; nothing for one that writes rows, except on the first replica."""
        head = _HEAD.match(statement)
        if head is None or head[1] == "ALTER TABLE":
            yield statement
        elif head[1] == "INSERT INTO":
            if self.first:
                yield statement
        elif head[2] == CLAIMS:
            yield self._claims(statement)
        else:
            yield self._replicated(statement, head[2])

    def _replicated(self, statement: str, table: str) -> str:
        def engine(found: re.Match[str]) -> str:
            arguments = f", {found[2]}" if found[2] else ""
            path = f"/steptrail/{{shard}}/{self.database}/{table}"
            return f"ENGINE = Replicated{found[1]}('{path}', '{{replica}}'{arguments})"

        made, replaced = _ENGINE.subn(engine, statement)
        if replaced != 1:
            raise ValueError(f"no engine of the MergeTree family in: {statement[:80]}")
        if _SETTINGS.search(made):
            return _SETTINGS.sub(f"SETTINGS {_REPLICATED_SETTINGS}, ", made)
        end = _END.search(made)
        at = len(made) if end is None else end.start()
        return f"{made[:at].rstrip()}\nSETTINGS {_REPLICATED_SETTINGS}\n{made[at:]}".rstrip()

    def _claims(self, statement: str) -> str:
        """One row for each projection and partition, whose key is computed: inserting it takes the place of the old."""
        path = f"/steptrail/{self.database}/{CLAIMS}"
        made = statement.replace(
            "(\n",
            "(\n    claim_key String DEFAULT concat(projection_name, '/', topic_id, '/', toString(partition)) "
            "COMMENT 'What is claimed: projection, topic, partition',\n",
            1,
        )
        made = made.replace("LowCardinality(String)", "String")
        # KeeperMap does not expand macros in its path, as replicated tables do, but takes a constant expression.
        made = _ENGINE.sub(f"ENGINE = KeeperMap(concat('{path}/', getMacro('shard')), {MOST_CLAIMS})", made)
        return _ORDER.sub("PRIMARY KEY claim_key", made)


@dataclass(frozen=True)
class Reading:
    """The reading database of a sharded layout: it stands beside database `local` of a shard, in `cluster`.

    `tables` are those of which each shard has a part.
    """

    local: str
    cluster: str
    tables: frozenset[str]

    def render(self, statement: str) -> Iterator[str]:
        """The statement with Distributed tables in place of those that projections write."""
        head = _HEAD.match(statement)
        if head is None or head[2] not in self.tables:
            yield statement
        elif head[1] == "CREATE TABLE IF NOT EXISTS":
            yield (
                f"{head[1]} {head[2]} AS `{self.local}`.{head[2]}\n"
                f"ENGINE = Distributed('{self.cluster}', '{self.local}', '{head[2]}')"
            )
        elif head[1] == "ALTER TABLE" and "COLUMN" in head[3]:
            yield statement
        # What else changes a table, or fills it, is a matter of the shards.


Rendering: TypeAlias = "Single | Replica | Reading"
