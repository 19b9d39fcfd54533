"""What an emitter cannot get rid of: its queue is full, or the broker will not take it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# confluent_kafka.admin re-exports its names without saying so.
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from faults.load import Load
from faults.row import Outcome, Run
from faults.rows.brokers import accounted
from faults.workspace import Workspace
from steptrail.producers.accounting import FailReason
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import ensure_topics
from support.topic_config import configure_topic
from support.waiting import until

_QUEUE = 2_000


def overrun(run: Run) -> Outcome:
    """The broker is frozen, and more is emitted than the queue holds; with a spool nothing of it is lost."""
    count = run.pick(12_000, 60_000)
    outcome = Outcome(0)
    with run.workspace() as (workspace, load):
        workspace.projector(batch=5_000)
        load.start("plain", rate=3_000, count=count, settings={"queue_max_messages": _QUEUE})
        plain = _frozen_amid(run, load, count)
        outcome.injected += 1
        run.judged(workspace, load, outcome)
        accounted(load, outcome)
        [account] = load.record.accounts()
        dropped = account["dropped"].get("queue_full", 0)
        outcome.ask(dropped > 0, "nothing was dropped: the queue was never full")
        outcome.ask(not account["failed"], f"events failed: {account['failed']}")
        outcome.ask(
            account["delivered"] + dropped == count == plain,
            f"{count} were emitted, {account['delivered']} delivered, {dropped} dropped",
        )
        outcome.ask(
            outcome.verdict.rows == account["delivered"],
            f"{account['delivered']} were delivered, {outcome.verdict.rows} are rows",
        )
        outcome.detail["gaps"] = gaps = _gaps(workspace, account["emitter"], dropped)
        outcome.ask(gaps == dropped, f"{dropped} were dropped, the gaps in the store hold {gaps}")
    _with_spool(run, outcome, count)
    return outcome


def _with_spool(run: Run, outcome: Outcome, count: int) -> None:
    with run.workspace() as (workspace, load):
        workspace.projector(batch=5_000)
        folder = load.record.folder / "spool"
        folder.mkdir()
        settings = {"queue_max_messages": _QUEUE, "spool": str(folder)}
        load.start("spooled", rate=3_000, count=count, settings=settings, flush_s=90.0, close_s=30.0)
        _frozen_amid(run, load, count)
        # Whatever the process left in its spool goes out with the next one that has it.
        load.start("next", rate=500, count=500, settings=settings, flush_s=90.0, close_s=30.0)
        load.join()
        outcome.injected += 1
        until(lambda: workspace.rows() >= count + 500, "arrival of what was spooled", pause=0.5)
        run.judged(workspace, load, outcome)
        found = workspace.rows_of_workers()
        outcome.ask(
            found.get("spooled") == count, f"with the spool {found.get('spooled', 0)} of {count} are there"
        )
        outcome.detail["spooled"] = found.get("spooled", 0)


def _frozen_amid(run: Run, load: Load, count: int) -> int:
    """Freeze the broker from a third of the emission on until it is over; how many were emitted."""
    until(lambda: load.issued() > count // 3, "third of the events")
    broker = run.world.broker.process
    assert broker is not None
    broker.freeze()
    try:
        until(lambda: load.issued() >= count, "last event")
        time.sleep(0.5)
    finally:
        broker.wake()
    load.join()
    return sum(load.record.issued_up_to().values())


def _gaps(workspace: Workspace, emitter: str, wanted: int) -> int:
    """How many events of the emitter the store says are missing, once it has heard the emitter's last word."""
    sql = "SELECT sum(events) FROM emitter_gaps WHERE emitter_id = {emitter:String}"

    def found() -> int:
        return int(workspace.store.query(sql, {"emitter": emitter})[0][0] or 0)

    with suppress(TimeoutError):
        until(lambda: found() == wanted, "right gaps", pause=0.5)
    return found()


def refused(run: Run) -> Outcome:
    """The broker takes no large ones for a while; allows no writing for a while; has no such topic for a while."""
    rate, outcome = run.pick(400, 1_000), Outcome(0)
    with run.workspace() as (workspace, load):
        workspace.projector(batch=2_000)
        load.start("steady", rate=rate)
        # Two hundred thousand characters that do not compress: more than is allowed in a moment.
        load.start("large", rate=4, filler=200_000)
        load.wait_issued(rate)
        pause = run.pick(2.0, 15.0)
        with limited(workspace, "100000"):
            load.wait_failing("large")
            time.sleep(pause)
        outcome.injected += 1
        load.wait_issued(load.issued() + rate)
        with forbidden(workspace):
            load.wait_failing("steady")
            time.sleep(pause)
        outcome.injected += 1
        load.wait_issued(load.issued() + rate)
        load.stop()
        run.judged(workspace, load, outcome)
        accounted(load, outcome)
        failed = [_refused(account["failed"]) for account in load.record.accounts()]
        outcome.ask(all(failed), f"the broker refused {failed} events of the two workers")
    with run.workspace() as (workspace, load):
        _no_topic_at_first(run, workspace, load, outcome)
    return outcome


def _refused(failed: dict[str, int]) -> int:
    return sum(failed.get(r.value, 0) for r in (FailReason.REFUSED_BY_BROKER, FailReason.REFUSED_LATE))


def _no_topic_at_first(run: Run, workspace: Workspace, load: Load, outcome: Outcome) -> None:
    admin = _admin(workspace)
    admin.delete_topics([workspace.topic])[workspace.topic].result()
    until(lambda: workspace.topic not in admin.list_topics(timeout=10).topics, "deletion of the topic")
    load.start("early", rate=200, settings={"message_timeout_ms": 1500})
    load.wait_failing("early")
    until(lambda: _created(workspace.settings), "creation of the topic")
    until(lambda: any(load.record.acknowledged()), "delivery to the new topic")
    load.wait_issued(load.issued() + 1_000)
    load.stop()
    outcome.injected += 1
    workspace.projector(batch=2_000)
    run.judged(workspace, load, outcome)
    [account] = load.record.accounts()
    outcome.detail["topic_missing"] = {name: account[name] for name in ("delivered", "failed", "dropped")}
    outcome.ask(bool(account["failed"]), "nothing failed though there was no topic")
    outcome.ask(account["delivered"] > 0, "nothing was delivered once there was a topic")


def _created(settings: Settings) -> bool:
    try:
        ensure_topics(settings)
    except Exception:  # the old one may still be on its way out
        return False
    return True


@contextmanager
def limited(workspace: Workspace, size: str) -> Iterator[None]:
    """The topic takes no batches larger than so many bytes."""
    before = dict(workspace.topics.steps.config.items())["max.message.bytes"]
    _set_limit(workspace, size)
    try:
        yield
    finally:
        _set_limit(workspace, before)


def _set_limit(workspace: Workspace, size: str) -> None:
    configure_topic(workspace.settings, workspace.topic, "max.message.bytes", size)


@contextmanager
def forbidden(workspace: Workspace) -> Iterator[None]:
    """Nobody may write to the topic; all else is allowed as before."""

    def rule(operation: Any, permission: Any) -> Any:
        name = workspace.topic
        return AclBinding(
            *(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:*", "*", operation, permission)
        )

    admin = _admin(workspace)
    rules = [
        rule(AclOperation.ALL, AclPermissionType.ALLOW),
        rule(AclOperation.WRITE, AclPermissionType.DENY),
    ]
    for done in admin.create_acls(rules).values():
        done.result()
    try:
        yield
    finally:
        every = AclBindingFilter(
            *(ResourceType.TOPIC, workspace.topic, ResourcePatternType.LITERAL, None, None),  # type: ignore[arg-type]
            *(AclOperation.ANY, AclPermissionType.ANY),
        )
        for done in admin.delete_acls([every]).values():
            done.result()


def _admin(workspace: Workspace) -> AdminClient:
    return AdminClient({**workspace.settings.kafka_config(), "log_level": 0})
