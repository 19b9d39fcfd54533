"""Projectors of the model, and what is left of a history: which records are lost, which are there twice."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from support.replicas.world import TABLES, Process, Replica, Safeguards, StatementFailed, World


class ClaimTaken(StatementFailed):
    """Another projector has the partition."""


@dataclass(frozen=True)
class Outcome:
    """Offsets that are missing from a table, and that stand in it twice."""

    lost: tuple[tuple[str, int], ...]
    double: tuple[tuple[str, int], ...]


def history(seed: int, safeguards: Safeguards, *, records: int = 12) -> Outcome:
    """One history: projectors come, stall and die among replicas that do; then calm, and a last one ends the job."""
    rng = random.Random(seed)
    world = World(rng, safeguards)
    for _ in range(1 if world.slow_parts else rng.randint(2, 6)):
        world.processes.append(_projector(world, records, rng.choice([0.001, 0.02, 0.05])))
        for _ in range(rng.choice([5, 40, 120])):
            world.step()
    for _ in range(rng.choice([50, 200, 600])):
        world.step()
    statements = {each.process for replica in world.replicas for each in replica.running}
    world.processes = [
        process for process in world.processes if process in statements
    ]  # all clients are dead
    world.calm()
    last = _projector(world, records, 0.0)
    world.processes.append(last)
    for _ in range(100_000):
        if last not in world.processes:
            break
        world.step_calmly()
    else:
        raise AssertionError("the last projector does not come to an end")
    world.calm()
    replica = next(each for each in world.replicas if not each.lost)
    found = {table: Counter(replica.rows(table)) for table in TABLES}
    return Outcome(
        tuple((table, offset) for table in TABLES for offset in range(records) if not found[table][offset]),
        tuple((table, offset) for table in TABLES for offset, count in found[table].items() if count > 1),
    )


def _projector(world: World, records: int, stalls: float) -> Process:
    """Claim, write batches to the end, and on any doubt claim anew; with `stalls`, it stops for long now and then."""
    while True:
        try:
            yield from _under_one_claim(world, records, stalls)
            return
        except ClaimTaken:
            if stalls and world.rng.random() < 0.8:
                return  # as the group has it
        except StatementFailed:
            pass
        yield


def _under_one_claim(world: World, records: int, stalls: float) -> Process:
    safe, rng = world.safeguards, world.rng
    usable = [each for each in world.replicas if each.up and each.reachable and each.session is not None]
    if not usable:
        raise StatementFailed
    chosen = rng.choice(usable)
    claim = world.new_claim()
    world.append(chosen, ("claim", claim))
    yield
    if safe.barrier:
        yield from _until_all(world, chosen, lambda each: world.claim_seen_by(each) == claim)
    if safe.wait:
        yield from _until_all(world, chosen, lambda each: all(it.claim == claim for it in each.running))
    if safe.touch:
        _require(chosen)
        if chosen.session is None or world.sessions.get(chosen.number) != chosen.session:
            raise StatementFailed
        chosen.seen = len(world.log)  # what a write to another key does
    yield
    if safe.settle:
        while world.unsettled_for(chosen):
            _require(chosen)
            yield
    if safe.sync:  # after it is settled: what was withdrawn must be gone from R, too
        while not world.is_in_step(chosen):
            _require(chosen)
            yield
    _require(chosen)
    marks = [last for last, _ in chosen.rows("ledger")]
    position = max(world.committed, max(marks, default=-1) + 1)
    while position < records:
        if rng.random() < stalls:
            for _ in range(rng.choice([20, 150])):
                yield
        last = min(position + rng.randint(1, 4), records) - 1
        offsets = tuple(range(position, last + 1))
        for table in TABLES:
            yield from _done(world, chosen, table, offsets, claim)
        yield from _done(world, chosen, "ledger", ((last, claim),), claim)
        if (last, claim) not in chosen.rows("ledger"):
            raise ClaimTaken
        world.committed = max(world.committed, last + 1)
        position = last + 1


def _done(world: World, replica: Replica, table: str, rows: tuple[object, ...], claim: int) -> Process:
    _require(replica)
    statement = world.insert(replica, table, rows, claim)
    while not statement.done and not statement.error:
        if not replica.reachable or world.rng.random() < 0.005:
            raise StatementFailed  # the reply is lost; the statement runs on
        yield
    if statement.error:
        raise StatementFailed


def _until_all(world: World, chosen: Replica, holds: object) -> Process:
    """Until it holds on every replica, asked directly; one that Keeper says is not active need not be asked."""
    assert callable(holds)
    waiting = list(world.replicas)
    while waiting:
        _require(chosen)
        waiting = [each for each in waiting if not _answers(world, each, holds)]
        yield


def _answers(world: World, replica: Replica, holds: object) -> bool:
    assert callable(holds)
    if replica.number not in world.sessions:
        return (
            True  # its inserts with quorum cannot commit any more, and with a new session it reads the claim
        )
    return bool(replica.up and replica.reachable and replica.session is not None and holds(replica))


def _require(replica: Replica) -> None:
    if not (replica.up and replica.reachable):
        raise StatementFailed
