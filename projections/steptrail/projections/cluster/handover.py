"""Moves Kafka partitions between shards: what was written stays, what comes next goes to another shard.

For each partition that is open in another shard than it belongs to:

1. claim it in the new shard, opened again if it was closed there. From here on no projector opens it anywhere: each
   finds it open in two shards;
2. claim it in the old shard, which ends whoever writes there, and wait for the statements that run;
3. delete what a batch left in the old tables beyond the ledger: the new shard writes it again, and its guard cannot see
   it there. Aggregates may keep it: they take the same rows twice;
4. write the greatest high-water of all shards into the new one's ledger;
5. close it in the old shard, if the claim of 2 still holds.

Whatever is cut off between two steps is done again by calling it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from steptrail.projections.clickhouse.errors import PartitionMoved
from steptrail.projections.clickhouse.shards import Shards
from steptrail.projections.cluster.databases import SPECS
from steptrail.projections.delivery.batch import Batch, Span
from steptrail.projections.delivery.ledger import Claims, Ledger
from steptrail.projections.delivery.replicas import Fence

_SPECS = {spec.name: spec for spec in SPECS}
_TRIES = 20


@dataclass(frozen=True)
class Placement:
    """Where a partition of a projection is: open in these shards, `high_water` the last offset that is written."""

    projection: str
    topic: str
    topic_id: str
    partition: int
    open_in: tuple[int, ...]
    belongs_to: int
    high_water: int

    @property
    def right(self) -> bool:
        """Whether it is where it belongs, and nowhere else."""
        return self.open_in == (self.belongs_to,)


def placements(shards: Shards) -> list[Placement]:
    """Every partition that was ever claimed in one of the shards. Raises InfrastructureError when one is away."""
    open_in: dict[tuple[str, str, str], dict[int, list[int]]] = {}
    for number, store in enumerate(shards.stores):
        found = store.query(
            "SELECT projection_name, topic, topic_id, groupUniqArray(partition) FROM projection_claims "
            "WHERE topic != '' GROUP BY projection_name, topic, topic_id"
        )
        for name, topic, topic_id, partitions in found:
            of_topic = open_in.setdefault((str(name), str(topic), str(topic_id)), {})
            ledger = Ledger(store, projection=name, topic=topic, topic_id=topic_id)
            for partition, claim in ledger.greatest(partitions).items():
                of_topic.setdefault(partition, []).extend(() if claim.closes else (number,))
    return [
        Placement(*key, partition, tuple(numbers), shards.of(partition), marks[partition])
        for key, of_topic in sorted(open_in.items())
        for marks in [_high_water(shards, key, list(of_topic))]
        for partition, numbers in sorted(of_topic.items())
    ]


def hand_over(shards: Shards, placement: Placement, *, at: Callable[[str], None] = lambda _: None) -> None:
    """Move one partition to the shard that it belongs to; nothing is done where it is right.

    Projectors may run. `at` is called with the name of each step before it. Raises PartitionMoved when others keep
    claiming the partition in the old shard, InfrastructureError when a shard is away.
    """
    for _ in range(_TRIES):
        if placement.right or _moved(shards, placement, at):
            return
    raise PartitionMoved(
        f"partition {placement.partition} of {placement.topic} is claimed again and again while it is handed over: "
        "stop the projectors whose STEPTRAIL_CLICKHOUSE_SERVERS is not the new one, then try again"
    )


def _moved(shards: Shards, placement: Placement, at: Callable[[str], None]) -> bool:
    part, new = placement.partition, placement.belongs_to
    key = (placement.projection, placement.topic, placement.topic_id)
    ledgers = [_ledger(shards, number, key) for number in range(len(shards.stores))]
    at("claim in the new shard")
    target = ledgers[new].claim([part], reopen=True)
    others = [number for number in range(len(shards.stores)) if number != new]
    old: dict[int, Claims] = {}
    for number in others:
        there = ledgers[number].greatest([part])
        if part in there and not there[part].closes:
            at("claim in the old shard")
            old[number] = ledgers[number].claim([part])
            if not old[number]:
                return False
            at("delete what is beyond the ledger")
            mark = ledgers[number].high_water([part])[part]
            _delete_beyond(shards, number, key, part, mark, ledgers[number])
    at("high-water")
    mark = _high_water(shards, key, [part])[part]
    known = ledgers[new].high_water([part])[part]
    if mark > known and not ledgers[new].record(target, _covering(part, known + 1, mark)):
        return False
    if not target:
        return False
    at("close in the old shard")
    return all(ledgers[number].close(claims) for number, claims in old.items())


def _delete_beyond(
    shards: Shards, number: int, key: tuple[str, str, str], part: int, mark: int, ledger: Ledger
) -> None:
    store, (name, _, topic_id) = shards.stores[number], key
    beyond = f"topic_id = {{topic_id:String}} AND kafka_partition = {part} AND kafka_offset > {mark}"
    for target in _SPECS[name].targets:
        if not target.keeps_offsets:
            continue
        [(rows,)] = store.query(f"SELECT count() FROM {target.table} WHERE {beyond}", {"topic_id": topic_id})
        if rows:
            # Mutations are kept as text: no bound parameter survives in them.
            literal = topic_id.replace("\\", "\\\\").replace("'", "\\'")
            condition = beyond.replace("{topic_id:String}", f"'{literal}'")
            ledger.write(
                f"ALTER TABLE {target.table} DELETE WHERE {condition} SETTINGS mutations_sync = 2", [part]
            )


def _high_water(shards: Shards, key: tuple[str, str, str], partitions: list[int]) -> dict[int, int]:
    marks = [_ledger(shards, number, key).high_water(partitions) for number in range(len(shards.stores))]
    return {part: max(each[part] for each in marks) for part in partitions}


def _ledger(shards: Shards, number: int, key: tuple[str, str, str]) -> Ledger:
    (name, topic, topic_id), store = key, shards.stores[number]
    fence = None
    if shards.replicas:
        tables = {"projection_ledger", *(target.table for target in _SPECS[name].targets)}
        fence = Fence(shards.replicas[number], store, tables)
    return Ledger(store, projection=name, topic=topic, topic_id=topic_id, fence=fence)


def _covering(partition: int, first: int, last: int) -> Batch:
    """A batch without rows that covers these offsets: another shard has what is in them."""
    return Batch(b"", (), {partition: Span(first, last)}, 0, 0, 0, 0)
