"""What `steptrail rebuild` does: plan, start and go on, exchange and back, drop, and how far it is."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.rebuild.fill import Tell, fill
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.queries import stored
from steptrail.projections.delivery.ledger import Ledger
from steptrail.projections.lifecycle import exchange as exchanging
from steptrail.projections.lifecycle.copying import initial, offsets, rows_to_copy
from steptrail.projections.lifecycle.rebuild_diff import Diff, diff
from steptrail.projections.lifecycle.rebuilds import Rebuild, RebuildState, latest_rebuild, write
from steptrail.projections.lifecycle.retention import apply
from steptrail.projections.lifecycle.retention_rules import retention_rules
from steptrail.projections.lifecycle.shadow_tables import (
    REBUILT,
    Side,
    create_tables,
    drop_tables,
    ledger_name,
    shadow_prefixes,
    table_name,
)
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import SteptrailError
from steptrail.schemas.topics import Topics

_OLD_IS_ASIDE = (RebuildState.EXCHANGED, RebuildState.RETURNING)
_RATE_OVER_S = 60


class RebuildRefused(SteptrailError):
    """The command cannot be done in this state; nothing was changed. The message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rebuild will do: `reads` records of the topic, `copies` rows from the live tables as they are.

    `begins` has the first offset that is read of each partition, `expired` how many offsets of the topic's the topic
    does not have any more. `live_bytes` is the size of the live tables.
    """

    rebuild: Rebuild
    reads: int
    copies: int
    expired: int
    live_bytes: int


@dataclass(frozen=True, slots=True)
class RebuildPartition:
    """Offsets of a partition: the first one read, the next one to read, the next one of the live tables, the end."""

    partition: int
    begin: int
    next: int
    live: int
    end: int


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """How far the tables are that are not live; `per_second` over the latest minute, None where nothing was written."""

    rebuild: Rebuild
    side: Side
    partitions: tuple[RebuildPartition, ...]
    per_second: float | None

    @property
    def left(self) -> int:
        """Offsets that are yet to be read."""
        return sum(max(0, each.end - each.next) for each in self.partitions)

    @property
    def seconds_left(self) -> float | None:
        """At the rate of the latest minute; None where that is not known."""
        return self.left / self.per_second if self.per_second else None


def current(clickhouse: ClickHouse) -> Rebuild | None:
    """The rebuild that has tables beside the live ones, if any."""
    found = latest_rebuild(clickhouse)
    return None if found is None or found.state is RebuildState.DROPPED else found


def shadow_side(rebuild: Rebuild) -> Side:
    """Which of the sets of tables is not live; during an exchange, the one that is to be live."""
    return Side.OLD if rebuild.state in _OLD_IS_ASIDE else Side.NEW


def plan(
    settings: Settings,
    clickhouse: ClickHouse,
    *,
    pipelines: Sequence[str] = (),
    since: datetime | None = None,
    by: str = "",
) -> Plan:
    """What a new rebuild would do; changes nothing."""
    questions = _questions(settings)
    topic = questions.describe()
    numbers = list(range(topic.partitions))
    first, ends = questions.first_offsets(numbers), questions.end_offsets(numbers)
    live = Ledger(clickhouse, projection=STEP_EVENTS.name, topic=topic.name, topic_id=topic.topic_id)
    live.refuse_recreated()
    marks = live.high_water(numbers)
    begins = first
    if since is not None:
        at = questions.offsets_at(numbers, int(since.timestamp() * 1000))
        # What the live tables do not have yet is read from the topic, however old it is.
        begins = {p: max(first[p], min(at[p], marks[p] + 1)) for p in numbers}
    rebuild = Rebuild(
        uuid.uuid4(),
        topic.name,
        topic.topic_id,
        by,
        tuple(dict.fromkeys(stored(each, clickhouse) for each in pipelines)),
        since,
        begins,
        marks if pipelines else {},
    )
    before = offsets({p: (0, begin - 1) for p, begin in begins.items() if begin}, rebuild)
    [(size,)] = clickhouse.query(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND active "
        "AND table IN {tables:Array(String)}",
        {"tables": list(REBUILT)},
    )
    return Plan(
        rebuild,
        sum(ends[p] - begins[p] for p in numbers),
        rows_to_copy(clickhouse, f"({initial(rebuild)} OR {before})"),
        sum(first.values()),
        int(size),
    )


def start(clickhouse: ClickHouse, planned: Plan) -> Rebuild:
    """Create the new tables and write the rebuild down. Raises RebuildRefused while there is another one."""
    if (there := current(clickhouse)) is not None:
        raise RebuildRefused(
            f"rebuild {there.short} of {there.requested_by} is {there.state.value}.",
            "`steptrail rebuild` shows it; `steptrail rebuild drop --yes` ends it.",
        )
    rebuild = planned.rebuild
    return write(clickhouse, replace(rebuild, tables=create_tables(clickhouse, rebuild)))


def go_on(
    settings: Settings, clickhouse: ClickHouse, rebuild: Rebuild, stop: threading.Event, tell: Tell
) -> Rebuild:
    """Read the topic into the new tables up to where it ends now; returns the rebuild in its state after it.

    That is FILLED, unless `stop` was set before. Raises RebuildRefused where the new tables are live.
    """
    if rebuild.state in (RebuildState.EXCHANGED, RebuildState.RETURNING):
        raise RebuildRefused(
            "the rebuilt tables are live already; the old ones are kept.",
            "`steptrail rebuild back` returns to them, `steptrail rebuild drop --yes` drops them.",
        )
    if rebuild.state is RebuildState.EXCHANGING:
        raise RebuildRefused(
            "an exchange was begun and not ended.", "`steptrail rebuild exchange --yes` goes on with it."
        )
    if not fill(settings, rebuild, Side.NEW, _ends(settings, rebuild), stop, tell=tell):
        return _again(clickhouse, rebuild)
    apply(clickhouse, retention_rules(clickhouse))
    return write(clickhouse, _again(clickhouse, rebuild).now(RebuildState.FILLED))


def required(rebuild: Rebuild | None) -> Rebuild:
    """The rebuild. Raises RebuildRefused where there is none."""
    if rebuild is None:
        raise RebuildRefused("there is no rebuild.", "`steptrail rebuild start` begins one.")
    return rebuild


def may_exchange(rebuild: Rebuild | None, side: Side) -> Rebuild:
    """The rebuild whose tables of `side` can become the live ones. Raises RebuildRefused where they cannot."""
    state = required(rebuild).state
    if side is Side.NEW:
        if state in (RebuildState.STARTED, RebuildState.COPIED):
            raise RebuildRefused(
                "the new tables have not caught up with the topic yet.",
                "`steptrail rebuild start --yes` goes on; `steptrail rebuild` shows how far it is.",
            )
        if state is RebuildState.EXCHANGED:
            raise RebuildRefused(
                "the rebuilt tables are live already.", "`steptrail rebuild back` returns to the old ones."
            )
        if state is RebuildState.RETURNING:
            raise RebuildRefused(
                "the way back was begun and not ended.", "`steptrail rebuild back --yes` goes on with it."
            )
    elif state is RebuildState.EXCHANGING:
        raise RebuildRefused(
            "an exchange was begun and not ended.", "`steptrail rebuild exchange --yes` goes on with it."
        )
    elif state not in _OLD_IS_ASIDE:
        raise RebuildRefused(
            "there is nothing to go back to: the live tables are the old ones.",
            "`steptrail rebuild` shows what there is.",
        )
    return required(rebuild)


def exchange(
    settings: Settings,
    clickhouse: ClickHouse,
    rebuild: Rebuild,
    side: Side,
    stop: threading.Event,
    tell: Tell,
    *,
    by: str,
) -> Rebuild:
    """Make the tables of `side` the live ones; see `lifecycle.exchange`. Raises RebuildRefused, ExchangeRefused."""
    rebuild = may_exchange(rebuild, side)
    if rebuild.state not in (RebuildState.EXCHANGING, RebuildState.RETURNING) and not fill(
        settings, rebuild, side, _ends(settings, rebuild), stop, tell=tell
    ):
        return _again(clickhouse, rebuild)
    return exchanging.exchange(
        clickhouse,
        rebuild,
        side,
        partitions=lambda: list(_ends(settings, rebuild)),
        catch_up=lambda targets, hold: fill(settings, rebuild, side, targets, stop, tell=tell, under=hold),
        by=by,
    )


def drop(clickhouse: ClickHouse, rebuild: Rebuild) -> None:
    """Drop the tables that are not live. Raises RebuildRefused in the middle of an exchange."""
    if rebuild.state in (RebuildState.EXCHANGING, RebuildState.RETURNING):
        if exchanging.begun(clickhouse, rebuild):
            command = "exchange" if rebuild.state is RebuildState.EXCHANGING else "back"
            raise RebuildRefused(
                "some tables are exchanged and others are not yet.",
                f"`steptrail rebuild {command} --yes` goes on with it.",
            )
        exchanging.abandon(clickhouse, rebuild, "")
        rebuild = _again(clickhouse, rebuild)
    write(clickhouse, rebuild.now(RebuildState.DROPPED))
    drop_leftovers(clickhouse)


def drop_leftovers(clickhouse: ClickHouse) -> bool:
    """Drop the tables beside the live ones that belong to no rebuild any more; returns whether there were any."""
    there = current(clickhouse)
    left = [name for name in shadow_prefixes(clickhouse) if there is None or there.short not in name]
    for prefix in left:
        drop_tables(clickhouse, prefix)
    return bool(left)


def progress(settings: Settings, clickhouse: ClickHouse, rebuild: Rebuild) -> RebuildProgress:
    """How far the tables are that are not live."""
    side = shadow_side(rebuild)
    ends = _ends(settings, rebuild)
    marks, live = (
        _marks(clickhouse, rebuild, ledger_name(side, rebuild), ends),
        _live(clickhouse, rebuild, ends),
    )
    [(events, seconds)] = clickhouse.query(
        "SELECT sum(last_offset - first_offset + 1), dateDiff('millisecond', min(at), now64(3)) / 1000 "
        "FROM projection_ledger WHERE projection_name = {name:String} AND topic_id = {topic:String} "
        "AND at > now64(3) - {seconds:UInt32}",
        {
            "name": ledger_name(side, rebuild),
            "topic": rebuild.topic_id,
            "seconds": _RATE_OVER_S,
        },
    )
    return RebuildProgress(
        rebuild,
        side,
        tuple(
            RebuildPartition(p, rebuild.begins.get(p, 0), marks[p] + 1, live[p] + 1, end)
            for p, end in sorted(ends.items())
        ),
        float(events) / float(seconds) if events and seconds else None,
    )


def compare(settings: Settings, clickhouse: ClickHouse, rebuild: Rebuild) -> Diff:
    """How the tables that are not live differ from those that are."""
    side = shadow_side(rebuild)
    if rebuild.state in (RebuildState.STARTED, RebuildState.EXCHANGING, RebuildState.RETURNING):
        raise RebuildRefused(
            f"rebuild {rebuild.short} is {rebuild.state.value}: there is nothing to compare yet.",
            "`steptrail rebuild` shows how far it is.",
        )
    questions = _questions(settings)
    ends = _ends(settings, rebuild)
    marks, live = (
        _marks(clickhouse, rebuild, ledger_name(side, rebuild), ends),
        _live(clickhouse, rebuild, ends),
    )
    return diff(
        clickhouse,
        rebuild,
        table_name(side, rebuild, REBUILT[0]),
        {p: min(marks[p], live[p]) for p in ends},
        questions.first_offsets(ends),
    )


def _questions(settings: Settings) -> BrokerQuestions:
    return BrokerQuestions(settings.kafka_config(), Topics(settings.topic_prefix).steps.name)


def _ends(settings: Settings, rebuild: Rebuild) -> dict[int, int]:
    questions = _questions(settings)
    topic = questions.describe()
    if topic.topic_id != rebuild.topic_id:
        raise RebuildRefused(
            f"topic {topic.name} was deleted and created again after this rebuild had begun.",
            "`steptrail rebuild drop --yes` ends it; then begin another.",
        )
    return questions.end_offsets(list(range(topic.partitions)))


def _marks(
    clickhouse: ClickHouse, rebuild: Rebuild, name: str, partitions: Mapping[int, int]
) -> dict[int, int]:
    ledger = Ledger(clickhouse, projection=name, topic=rebuild.topic, topic_id=rebuild.topic_id)
    return ledger.high_water(partitions)


def _live(clickhouse: ClickHouse, rebuild: Rebuild, partitions: Mapping[int, int]) -> dict[int, int]:
    return _marks(clickhouse, rebuild, STEP_EVENTS.name, partitions)


def _again(clickhouse: ClickHouse, rebuild: Rebuild) -> Rebuild:
    """The same rebuild in the state that it has now."""
    return latest_rebuild(clickhouse) or rebuild
