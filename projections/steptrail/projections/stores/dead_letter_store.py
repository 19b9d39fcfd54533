"""Dead letters as the store knows them: finding, counting, and writing down what was decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.schemas.event import us_from_datetime

State = Literal["OPEN", "REDRIVEN", "DROPPED"]
STATES: Final[tuple[State, ...]] = ("OPEN", "REDRIVEN", "DROPPED")
Place = tuple[int, int]
"""Partition and offset in the topic that a message was read from."""
LetterPlace = tuple[str, int, int]
"""Kafka id of the dead-letter topic, partition and offset there."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant: those that meet everything that is given. Times are when they were set aside,
    `since` inclusive and `until` exclusive; offsets are those of the topic that they were read from, inclusive.
    """

    reasons: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    partition: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None
    places: tuple[Place, ...] = ()
    states: tuple[State, ...] = ("OPEN",)

    @property
    def is_everything(self) -> bool:
        """Whether nothing but a state narrows it."""
        return self == Selection(states=self.states)

    def condition(self) -> tuple[str, dict[str, Any]]:
        """SQL over `dead_letter_state`, and its parameters."""
        conditions = ["state IN {states:Array(String)}"]
        parameters: dict[str, Any] = {"states": list(self.states)}
        for name, sql, value in (
            ("reasons", "reason IN {reasons:Array(String)}", list(self.reasons)),
            ("pipelines", "pipeline IN {pipelines:Array(String)}", list(self.pipelines)),
            ("since", "broker_time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')", _ms(self.since)),
            ("until", "broker_time < fromUnixTimestamp64Milli({until:Int64}, 'UTC')", _ms(self.until)),
            ("partition", "source_partition = {partition:Int32}", self.partition),
            ("first", "source_offset >= {first:Int64}", self.first_offset),
            ("last", "source_offset <= {last:Int64}", self.last_offset),
        ):
            if value is not None and value != []:
                conditions.append(sql)
                parameters[name] = value
        if self.places:
            places = ", ".join(f"({int(partition)}, {int(offset)})" for partition, offset in self.places)
            conditions.append(f"(source_partition, source_offset) IN ({places})")
        return " AND ".join(conditions), parameters


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A row of `dead_letter_state`; its columns' comments say what each means. Times are aware, in UTC.

    `letter_partition` and `letter_offset` are its place in the dead-letter topic.
    """

    topic: str
    source_topic_id: str
    source_partition: int
    source_offset: int
    source_time: datetime
    reason: str
    explanation: str
    stage: str
    position: int | None
    field: str | None
    pipeline: str
    doc_id: str
    step_name: str
    event_id: Any
    value_bytes: int
    times_resent: int
    consumer: str
    broker_time: datetime
    topic_id: str
    letter_partition: int
    letter_offset: int
    state: State
    decided_at: datetime | None
    decided_by: str
    note: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON: its columns by name, and its place."""
        return {"place": self.shown_place, **asdict(self)}

    @property
    def place(self) -> Place:
        """Partition and offset in the topic that it was read from."""
        return self.source_partition, self.source_offset

    @property
    def letter_place(self) -> LetterPlace:
        """Where the letter itself is."""
        return self.topic_id, self.letter_partition, self.letter_offset

    @property
    def shown_place(self) -> str:
        """The same for people, as the commands take it."""
        return f"{self.source_partition}:{self.source_offset}"


@dataclass(frozen=True, slots=True)
class Redriven:
    """A letter that was sent again, and the place that its message got."""

    letter: StoredLetter
    sent_partition: int
    sent_offset: int


@dataclass(frozen=True, slots=True)
class Author:
    """In whose name decisions are written: the run of a command, who ran it, and why."""

    run: str
    decided_by: str
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of the letters of one run of redrive.

    `arrived` are rows in `steps` now, `died_again` are letters again, and what is neither was `there_already`.
    """

    sent: int
    arrived: int
    died_again: int
    there_already: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "there_already", self.sent - self.arrived - self.died_again)


_COLUMNS: Final = ", ".join(
    {"letter_partition": "kafka_partition", "letter_offset": "kafka_offset"}.get(name, name)
    for name in StoredLetter.__slots__
)


class DeadLetterStore:
    """The letters of one steps topic and its dead-letter topic, by name.

    Raises what ClickHouse does: InfrastructureError when the store is away, QueryError when tables are missing.
    """

    def __init__(self, clickhouse: ClickHouse, *, topic: str, dlq_topic: str) -> None:
        self._clickhouse = clickhouse
        # Letters that do not say where they were read from have the dead-letter topic's own places.
        self._topics = {"topics": [topic, dlq_topic]}

    def letters(
        self,
        selection: Selection,
        *,
        limit: int,
        after: StoredLetter | LetterPlace | None = None,
        newest_first: bool = False,
    ) -> list[StoredLetter]:
        """Up to `limit` letters in the order of the dead-letter topic, from the one behind `after` on."""
        condition, parameters = selection.condition()
        key = "(topic_id, kafka_partition, kafka_offset)"
        if after is not None:
            condition += f" AND {key} > ({{a:String}}, {{b:Int32}}, {{c:Int64}})"
            place = after if isinstance(after, tuple) else after.letter_place
            parameters |= dict(zip("abc", place, strict=True))
        order = "broker_time DESC, kafka_offset DESC" if newest_first else key
        rows = self._clickhouse.query(
            f"SELECT {_COLUMNS} FROM dead_letter_state WHERE topic IN {{topics:Array(String)}} AND {condition} "
            f"ORDER BY {order} LIMIT {int(limit)}",
            {**parameters, **self._topics},
        )
        return [StoredLetter(*row) for row in rows]

    def count(self, selection: Selection) -> dict[str, int]:
        """How many letters there are, by reason."""
        condition, parameters = selection.condition()
        rows = self._clickhouse.query(
            "SELECT reason, count() AS n FROM dead_letter_state WHERE topic IN {topics:Array(String)} "
            f"AND {condition} GROUP BY reason ORDER BY n DESC, reason",
            {**parameters, **self._topics},
        )
        return {str(reason): int(n) for reason, n in rows}

    def drop(self, selection: Selection, author: Author) -> int:
        """Write down that nothing more is to be done about the letters; how many there were."""
        condition, parameters = selection.condition()
        key = "topic, source_topic_id, source_partition, source_offset"
        self._clickhouse.command(
            f"INSERT INTO dead_letter_decisions ({key}, decision, decided_by, run, note) "
            f"SELECT {key}, 'DROPPED', {{by:String}}, {{run:String}}, {{note:String}} FROM dead_letter_state "
            f"WHERE topic IN {{topics:Array(String)}} AND {condition}",
            {
                **parameters,
                **self._topics,
                "by": author.decided_by,
                "run": author.run,
                "note": author.note,
            },
        )
        [(count,)] = self._clickhouse.query(
            "SELECT count() FROM dead_letter_decisions WHERE run = {run:String}", {"run": author.run}
        )
        return int(count)

    def redriven(self, letters: Iterable[Redriven], author: Author) -> None:
        """Write down that these were sent again, and acknowledged."""
        lines = [
            orjson.dumps(
                {
                    "topic": each.letter.topic,
                    "source_topic_id": each.letter.source_topic_id,
                    "source_partition": each.letter.source_partition,
                    "source_offset": each.letter.source_offset,
                    "decision": "REDRIVEN",
                    "decided_by": author.decided_by,
                    "run": author.run,
                    "note": author.note,
                    "sent_partition": each.sent_partition,
                    "sent_offset": each.sent_offset,
                }
            )
            for each in letters
        ]
        if lines:
            self._clickhouse.command(
                "INSERT INTO dead_letter_decisions (topic, source_topic_id, source_partition, source_offset, "
                "decision, decided_by, run, note, sent_partition, sent_offset) FORMAT JSONEachRow",
                data=b"\n".join(lines),
            )

    def outcome(self, run: str, topic_id: str) -> Outcome:
        """What became of the letters that `run` sent to the steps topic with this Kafka id.

        Exact once both projections have passed what was sent.
        """
        sent = "SELECT sent_partition, sent_offset FROM dead_letter_decisions WHERE run = {run:String}"
        parameters = {"run": run, "topic_id": topic_id, **self._topics}
        [(count,)] = self._clickhouse.query(f"SELECT count() FROM ({sent})", parameters)
        [(arrived,)] = self._clickhouse.query(
            "SELECT uniqExact(kafka_partition, kafka_offset) FROM steps WHERE topic_id = {topic_id:String} "
            f"AND (kafka_partition, kafka_offset) IN ({sent})",
            parameters,
        )
        [(died,)] = self._clickhouse.query(
            "SELECT count() FROM dead_letter_state WHERE topic IN {topics:Array(String)} "
            f"AND source_topic_id IN ('', {{topic_id:String}}) AND (source_partition, source_offset) IN ({sent})",
            parameters,
        )
        return Outcome(int(count), int(arrived), int(died))


_STATES_BY_NAME: Final[dict[str, State]] = {state: state for state in STATES}


def _ms(moment: datetime | None) -> int | None:
    """The first millisecond that is not before `moment`."""
    return None if moment is None else -(-us_from_datetime(moment) // 1000)


def parse_states(names: Sequence[str]) -> tuple[State, ...]:
    """States by their names in any case, `all` for every one. Raises ValueError naming one that is none."""
    found: list[State] = []
    for name in names:
        if name.lower() == "all":
            return STATES
        match = _STATES_BY_NAME.get(name.upper())
        if match is None:
            raise ValueError(f"{name!r} is no state of a dead letter: open, redriven, dropped or all")
        found.append(match)
    return tuple(found)
