from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from steptrail.consumers.ingest.bad_records import FEW, WARY_BATCHES, Isolation
from steptrail.consumers.ingest.dead_letter_producer import DeadLetter
from steptrail.consumers.ingest.finding import fault_of
from steptrail.consumers.ingest.poison_limit import PoisonLimit, TooMuchPoison
from steptrail.consumers.ingest.prefiltering_buffer import PrefilteringBuffer
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.projections.clickhouse.errors import BatchRejected
from steptrail.projections.delivery.batch import Batch
from steptrail.projections.delivery.staging import SetAside
from steptrail.schemas.errors import InfrastructureError
from support.consumed import batch_of, event_value, message


def records_of(batch: Batch) -> list[tuple[tuple[int, int], bytes]]:
    """Partition and offset, and value, of each record."""
    return [
        ((int.from_bytes(trailer[8:12], "little"), int.from_bytes(trailer[12:20], "little")), value)
        for run in batch.runs
        for value, trailer in zip(run.parts[::2], run.parts[1::2], strict=True)
    ]


class Store:
    """Keeps what is written; rejects a batch, whole, that holds a value which `refuses` says is bad."""

    def __init__(
        self, refuses: Callable[[bytes], bool] = lambda value: False, *, names_rows: bool = False
    ) -> None:
        self.refuses = refuses
        self.names_rows = names_rows
        self.offsets: dict[int, list[int]] = {}
        self.spans: dict[int, list[tuple[int, int]]] = {}
        self.letters: list[DeadLetter] = []
        self.lost: set[int] = set()
        self.batches: list[Batch] = []

    @property
    def writes(self) -> int:
        return len(self.batches)

    def write(self, batch: Batch, set_aside: SetAside | None = None) -> dict[int, int]:
        self.batches.append(batch)
        bad = [place for place, value in records_of(batch) if self.refuses(value)]
        if bad and self.names_rows and set_aside is not None:
            set_aside(dict.fromkeys(bad, "details"))
            batch = batch.without(bad)
        elif bad:
            raise BatchRejected("some record is bad", {"details": len(bad)})
        done = {}
        for (partition, offset), _ in records_of(batch):
            if partition not in self.lost:
                self.offsets.setdefault(partition, []).append(offset)
        for partition, span in batch.spans.items():
            if partition not in self.lost:
                self.spans.setdefault(partition, []).append((span.first, span.last))
                done[partition] = span.last + 1
        return done

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        self.letters.extend(letters)

    def isolation(self, limit: PoisonLimit | None = None) -> Isolation:
        return Isolation(self.write, self.bury, WriterSchemas(), limit or PoisonLimit())

    def covered(self, partition: int) -> tuple[int, int]:
        """First and last offset of the partition's spans, which must follow one another."""
        spans = self.spans[partition]
        for (_, last), (first, _) in pairwise(spans):
            assert first == last + 1
        return spans[0][0], spans[-1][1]


def test_a_good_batch_is_written_at_once() -> None:
    """No decode, no second write."""
    store = Store()
    assert store.isolation().write(batch_of(*(message(0, n) for n in range(5)))) == {0: 5}
    assert store.writes == 1
    assert store.letters == []


def test_undecodable_records_go_alone() -> None:
    """Truncated and with bytes too many: found by the strict decoder once the store has refused the batch."""
    good = event_value()
    bad = {3: good[:-3], 6: good + b"\0"}
    store = Store(lambda value: value in bad.values())
    batch = batch_of(*(message(0, n, bad.get(n, good)) for n in range(200)))
    assert store.isolation().write(batch) == {0: 200}
    assert [(letter.offset, letter.reason) for letter in store.letters] == [
        ((0, 3), "TRUNCATED"),
        ((0, 6), "TRAILING_BYTES"),
    ]
    assert store.offsets[0] == [n for n in range(200) if n not in bad]
    assert store.covered(0) == (0, 199)
    assert store.writes == 2


@pytest.mark.parametrize(("messages", "checked"), [(FEW, True), (FEW + 1, False)])
def test_few_messages_need_not_be_checked_by_the_store(messages: int, checked: bool) -> None:
    """They were decoded strictly; of many the store checks each."""
    store = Store()
    store.isolation().write(batch_of(*(message(0, n) for n in range(messages))))
    assert [batch.checked for batch in store.batches] == [checked]


def test_of_few_messages_the_store_sees_the_good_ones_only() -> None:
    """Each bad one has the strict decoder's reason, and is set aside before the only write."""
    good, details = event_value(), event_value(details="[1]")
    bad = {3: good[:-3], 6: good + b"\0", 7: details}
    store = Store()
    batch = batch_of(*(message(0, n, bad.get(n, good)) for n in range(10)))
    assert store.isolation().write(batch) == {0: 10}
    assert [(letter.offset[1], letter.reason) for letter in store.letters] == [
        (3, "TRUNCATED"),
        (6, "TRAILING_BYTES"),
        (7, "BAD_JSON"),
    ]
    assert store.offsets[0] == [0, 1, 2, 4, 5, 8, 9]
    assert store.covered(0) == (0, 9)
    assert [batch.checked for batch in store.batches] == [True]


def test_what_only_the_store_refuses_is_found_by_halving() -> None:
    """Validators differ; the culprits alone are set aside, and no offset is skipped."""
    odd = event_value(details='{"odd": 1}')
    store = Store(lambda value: b'"odd"' in value)
    bad = {(0, 7), (1, 101), (1, 102)}
    places = [(0, n) for n in range(20)] + [(1, n) for n in range(100, 110)]
    batch = batch_of(*(message(*place, odd if place in bad else event_value()) for place in places))
    assert store.isolation().write(batch) == {0: 20, 1: 110}
    assert {letter.offset for letter in store.letters} == bad
    assert {letter.reason for letter in store.letters} == {"REFUSED_BY_STORE"}
    assert store.offsets[0] == [n for n in range(20) if n != 7]
    assert store.offsets[1] == [n for n in range(100, 110) if n not in (101, 102)]
    assert store.covered(0) == (0, 19)
    assert store.covered(1) == (100, 109)


def test_what_only_the_store_refuses_goes_at_once_where_it_names_the_rows() -> None:
    """Half of a batch, which is staged once; each letter says which check it was."""
    odd = event_value(details='{"odd": 1}')
    store = Store(lambda value: b'"odd"' in value, names_rows=True)
    values = [odd if number % 2 else event_value() for number in range(400)]
    batch = batch_of(*(message(0, n, value) for n, value in enumerate(values)))
    assert store.isolation().write(batch) == {0: 400}
    assert store.writes == 1
    assert store.offsets[0] == list(range(0, 400, 2))
    assert store.covered(0) == (0, 399)
    assert [letter.offset[1] for letter in store.letters] == list(range(1, 400, 2))
    assert {(letter.reason, letter.field) for letter in store.letters} == {("REFUSED_BY_STORE", "details")}


@pytest.mark.parametrize("bad", [1, 7, 40])
def test_halving_takes_the_logarithm_of_the_batch_for_each_bad_one(bad: int) -> None:
    """Statements, counted: at most two for each time that a batch of a thousand can be halved, and two more."""
    odd = event_value(details='{"odd": 1}')
    store = Store(lambda value: b'"odd"' in value)
    places = {number * 1000 // bad + 3 for number in range(bad)}
    batch = batch_of(*(message(0, n, odd if n in places else event_value()) for n in range(1000)))
    assert store.isolation().write(batch) == {0: 1000}
    assert {letter.offset[1] for letter in store.letters} == places
    assert store.covered(0) == (0, 999)
    assert store.writes <= bad * (2 * 10 + 2) + 1


def test_letters_of_the_strict_decoder_are_sent_before_halving() -> None:
    """What it finds, and what only the store finds: each has one letter, with its own reason."""
    odd, cut, not_json = event_value(details='{"odd": 1}'), event_value()[:-1], event_value(details="{")
    store = Store(lambda value: value in (odd, cut, not_json))
    values = {5: odd, 6: cut, 7: not_json, 30: odd, 40: not_json}
    batch = batch_of(*(message(0, n, values.get(n, event_value())) for n in range(50)))
    assert store.isolation().write(batch) == {0: 50}
    assert sorted((letter.offset[1], letter.reason) for letter in store.letters) == [
        (5, "REFUSED_BY_STORE"),
        (6, "TRUNCATED"),
        (7, "BAD_JSON"),
        (30, "REFUSED_BY_STORE"),
        (40, "BAD_JSON"),
    ]
    assert store.covered(0) == (0, 49)


def test_letters_of_rows_are_acknowledged_before_anything_is_written() -> None:
    """Also where the store names the rows; when the dead-letter topic is away, nothing is written."""
    store = Store(lambda value: b'"odd"' in value, names_rows=True)

    def bury(_: Sequence[DeadLetter]) -> None:
        raise InfrastructureError("away")

    isolation = Isolation(store.write, bury, WriterSchemas(), PoisonLimit())
    with pytest.raises(InfrastructureError):
        isolation.write(batch_of(message(0, 0), message(0, 1, event_value(details='{"odd": 1}'))))
    assert store.offsets == {}


def test_a_hundred_and_fifty_bad_ones_of_every_kind_among_thousands_stop_nothing() -> None:
    """Whoever of the validators finds them, and however often the batch comes."""
    kinds = [
        event_value(details='{"a":' * 1024 + "1" + "}" * 1024),
        event_value(metrics='{"a":%s}' % ("9" * 400)),
        event_value()[:-1],
        b"junk",
        event_value(attempt=0),
    ]
    store = Store(lambda value: value in kinds, names_rows=True)
    isolation, good = store.isolation(), event_value()
    for lap in range(3):
        values = [kinds[n % len(kinds)] if n % 33 == 0 else good for n in range(5_000)]
        batch = batch_of(*(message(0, lap * 5_000 + n, value) for n, value in enumerate(values)))
        assert isolation.write(batch) == {0: (lap + 1) * 5_000}
    assert len(store.letters) == 3 * sum(value != good for value in values)
    assert store.writes <= 4


def test_a_batch_of_nothing_but_poison_still_advances() -> None:
    """Its offsets are covered by the ledger without a row."""
    store = Store(lambda value: True)
    batch = batch_of(message(0, 0, None), message(0, 1, b"nonsense"), message(0, 2, event_value()[:-1]))
    assert store.isolation().write(batch) == {0: 3}
    assert [letter.reason for letter in store.letters] == ["EMPTY", "BAD_FRAME", "TRUNCATED"]
    assert store.offsets == {}
    assert store.covered(0) == (0, 2)


def test_holes_stay_covered_through_halving() -> None:
    """Offsets without records, at the start, between and at the cut."""
    odd = event_value(details='{"odd": 1}')
    store = Store(lambda value: b'"odd"' in value)
    messages = [message(0, n, odd if n == 16 else event_value()) for n in (3, 8, 16, 17, 30)]
    assert store.isolation().write(batch_of(*messages)) == {0: 31}
    assert store.covered(0) == (3, 30)


def test_letters_are_acknowledged_before_anything_is_written() -> None:
    """When the dead-letter topic is away, the ledger does not pass the bad record."""
    store = Store()

    def bury(_: Sequence[DeadLetter]) -> None:
        raise InfrastructureError("away")

    isolation = Isolation(store.write, bury, WriterSchemas(), PoisonLimit())
    with pytest.raises(InfrastructureError):
        isolation.write(batch_of(message(0, 0), message(0, 1, b"nonsense")))
    assert store.writes == 0


def test_nothing_is_written_behind_a_lost_partition() -> None:
    """A later piece of a partition that was lost in between would hide a hole."""
    odd = event_value(details='{"odd": 1}')
    store = Store(lambda value: b'"odd"' in value)
    store.lost = {0}
    places = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]
    batch = batch_of(*(message(*place, odd if place == (1, 2) else event_value()) for place in places))
    assert store.isolation().write(batch) == {1: 4}
    assert store.covered(1) == (0, 3)
    assert 0 not in store.spans


def test_too_much_poison_stops_before_anything_is_set_aside() -> None:
    """Then it is more likely us than them."""
    store = Store(lambda value: True)
    good = event_value()
    batch = batch_of(*(message(0, n, good if n % 2 else good[:-1]) for n in range(20)))
    with pytest.raises(TooMuchPoison, match=r"10 of the latest 20 .* TRUNCATED 10, .* partition 0, offset 0"):
        store.isolation(PoisonLimit(ratio=0.4, min_messages=20)).write(batch)
    row = batch_of(*(message(0, n, b"x") for n in range(5)))
    with pytest.raises(TooMuchPoison, match=r"(?s)5 messages in a row .*STEPTRAIL_POISON_MAX_IN_A_ROW"):
        store.isolation(PoisonLimit(in_a_row=5)).write(row)
    assert store.letters == []
    assert store.offsets == {}


def test_bad_ones_in_a_row_are_counted_over_batches() -> None:
    """A good one between begins anew; what is written again counts once."""
    good = event_value()
    store = Store(lambda value: value != good)
    isolation = store.isolation(PoisonLimit(in_a_row=5))
    isolation.write(batch_of(message(0, 0, good), *(message(0, n, b"x") for n in range(1, 4))))
    isolation.write(batch_of(message(0, 4, good), message(0, 5, b"x"), message(0, 6, b"x")))
    isolation.write(batch_of(message(0, 7, b"x"), message(0, 8, b"x")))
    for _ in range(2):
        with pytest.raises(TooMuchPoison, match="5 messages in a row"):
            isolation.write(batch_of(message(0, 9, b"x")))
    isolation.write(batch_of(message(0, 9, good)))


def test_the_share_is_looked_at_over_enough_messages() -> None:
    """A few odd ones in a quiet hour stop nothing, the same share of many does."""
    store = Store(lambda value: True)
    isolation = store.isolation(PoisonLimit(min_messages=12))
    for lap in range(2):
        isolation.write(batch_of(*(message(0, lap * 5 + n, b"x") for n in range(5))))
    assert len(store.letters) == 10
    with pytest.raises(TooMuchPoison, match="15 of the latest 15"):
        isolation.write(batch_of(*(message(0, 10 + n, b"x") for n in range(5))))


def test_events_of_unknown_schemas_never_stop_it() -> None:
    """Newer producers are no accident: what they wrote waits in the dead-letter topic, however much it is."""
    newer = b"\xc3\x01" + b"\x13\x37" * 4 + event_value()[10:]
    store = Store()
    isolation = store.isolation(PoisonLimit(in_a_row=5, ratio=0.1, min_messages=10))
    for lap in range(3):
        isolation.write(batch_of(*(message(0, lap * 20 + n, newer) for n in range(20))))
    assert {letter.reason for letter in store.letters} == {"UNKNOWN_SCHEMA"}
    assert len(store.letters) == 60
    bad = [
        message(0, 60, b"x"),
        message(0, 61, b"x"),
        message(0, 62, newer),
        *(message(0, n, b"x") for n in range(63, 66)),
    ]
    with pytest.raises(TooMuchPoison, match="5 messages in a row"):
        isolation.write(batch_of(*bad))


def test_positions_count_from_the_start_of_the_value() -> None:
    """So that one finds the byte in what the dead-letter topic holds."""
    good = event_value()
    fault = fault_of(message(0, 0, good + b"\0\0"), WriterSchemas())
    assert fault is not None
    assert fault.position == len(good)
    assert fault_of(message(0, 0, good), WriterSchemas()) is None


def test_dead_letters_say_where_why_and_by_whom() -> None:
    """Kafka Connect's header names, then ours; the message's own come first."""
    store = Store(lambda value: True)
    batch = batch_of(message(4, 9, b"nonsense", headers=[("mine", b"1")]))
    store.isolation().write(batch)
    headers = dict(store.letters[0].headers("steptrail-projector", "7", "an-id"))
    assert headers["mine"] == b"1"
    assert headers["__connect.errors.topic"] == b"steps"
    assert headers["__connect.errors.partition"] == b"4"
    assert headers["__connect.errors.offset"] == b"9"
    assert headers["__connect.errors.connector.name"] == b"steptrail-projector"
    assert headers["__connect.errors.task.id"] == b"7"
    assert headers["__connect.errors.stage"] == b"VALUE_CONVERTER"
    assert headers["__connect.errors.exception.class.name"] == b"steptrail.schemas.errors.EventDecodeError"
    assert b"expected c3 01" in (headers["__connect.errors.exception.message"] or b"")
    assert headers["steptrail.reason"] == b"BAD_FRAME"
    assert headers["steptrail.position"] == b"0"
    assert headers["steptrail.topic_id"] == b"an-id"


def test_after_a_rejected_batch_the_next_ones_are_looked_at_first() -> None:
    """So that steady poison costs the store no rejection a batch."""
    good = event_value()
    store = Store(lambda value: value != good)
    isolation = store.isolation()
    bad = {1: good + b"\0", 203: good[:-1], 204: b"x"}
    messages = [message(0, n, bad.get(n, good)) for n in range(400)]
    isolation.write(batch_of(*messages[:200]))
    assert store.writes == 2
    isolation.write(batch_of(*messages[200:]))
    assert store.writes == 3
    assert [letter.offset[1] for letter in store.letters] == [1, 204, 203]
    assert store.covered(0) == (0, 399)


def test_where_the_buffer_refused_a_message_the_others_are_looked_at_first() -> None:
    """Bad messages come together: the store is not to reject a batch first."""
    good = event_value()
    store = Store(lambda value: value != good)
    bad = {1: b"x", 2: good[:-1]}
    store.isolation().write(batch_of(*(message(0, n, bad.get(n, good)) for n in range(200))))
    assert store.writes == 1
    assert [letter.reason for letter in store.letters] == ["BAD_FRAME", "TRUNCATED"]


def test_a_store_that_refuses_good_records_stops_it() -> None:
    """A fault of the store must not turn good records into dead letters without end."""
    store = Store(lambda value: True)
    with pytest.raises(TooMuchPoison, match="the store refuses 8 records"):
        store.isolation(PoisonLimit(unexplained=7)).write(batch_of(*(message(0, n) for n in range(100))))
    assert len(store.letters) == 7


def test_json_that_does_not_begin_with_its_bracket_is_found_without_halving() -> None:
    """The store's validator does not take the space before it."""
    odd = event_value(details=' {"a": 1}')
    store = Store(lambda value: value == odd)
    store.isolation().write(batch_of(*(message(0, n, odd if n == 5 else event_value()) for n in range(200))))
    assert [letter.reason for letter in store.letters] == ["BAD_JSON"]
    assert store.writes == 2


def test_a_projector_starts_without_numpy() -> None:
    """It is for looking at bad batches, and would be a quarter of every start, also of those after a kill."""
    code = "import sys, steptrail.consumers.projector.run; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_wary_buffer_refuses_what_the_isolation_would_have_found() -> None:
    """With the same reason, once; the batch covers its offset, and neither prefilters nor rejects again."""
    good = event_value()
    values = [good, good[:-1], b"x", good, event_value(details="{"), good + b"\0", None, *[good] * 193]
    wary, positions = [False], {0: 0}
    buffer = PrefilteringBuffer(WriterSchemas(), positions, lambda: wary[0])
    buffer.extend([message(0, n, value) for n, value in enumerate(values[:3])], 0.0)
    wary[0] = True  # those before are looked at, too
    buffer.extend([message(0, n, value) for n, value in enumerate(values) if n >= 3], 0.0)
    consumed = buffer.close()
    assert consumed.prefiltered
    store = Store(lambda value: b'"odd"' in value)
    assert store.isolation().write(consumed) == {0: 200}
    assert sorted((letter.offset[1], letter.reason) for letter in store.letters) == [
        (1, "TRUNCATED"),
        (2, "BAD_FRAME"),
        (5, "TRAILING_BYTES"),
        (6, "EMPTY"),
    ]
    assert store.offsets[0] == [0, 3, 4, *range(7, 200)]  # what texts hold is for the store to say
    assert store.covered(0) == (0, 199)
    assert store.writes == 1


def test_a_buffer_that_is_not_wary_looks_at_nothing() -> None:
    """Good batches cost nothing more."""
    buffer = PrefilteringBuffer(WriterSchemas(), {0: 0}, lambda: False)
    buffer.extend([message(0, 0), message(0, 1, event_value()[:-1])], 0.0)
    consumed = buffer.close()
    assert not consumed.prefiltered
    assert not consumed.refused
    assert consumed.batch.rows == 2


def test_a_buffer_is_wary_as_long_as_messages_are_refused() -> None:
    """And for some batches more."""
    isolation = Store().isolation()
    assert not isolation.wary()
    isolation.write(batch_of(message(0, 0), message(0, 1, b"x")))
    for offset in range(2, 2 + WARY_BATCHES):
        assert isolation.wary()
        isolation.write(batch_of(message(0, offset)))
    assert not isolation.wary()
