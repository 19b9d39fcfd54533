"""Times in addresses, shared questions, freshness at hand, files."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.access.tokens import Principal
from steptrail.consumers.web.answering import refuse_others
from steptrail.consumers.web.found import fresh, freshness_of
from steptrail.consumers.web.freshness import FreshnessKeeper
from steptrail.consumers.web.kept import Kept
from steptrail.consumers.web.models.work import WaitsAnswer
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.service.export import written
from steptrail.consumers.web.service.now import NumbersKeeper
from steptrail.consumers.web.service.operations import letter_after, letter_cursor
from steptrail.consumers.web.spans import between, moment
from steptrail.consumers.web.workers import SharedWork, side_by_side
from steptrail.projections.clickhouse.pages import BadCursor, seal
from steptrail.schemas.configuration.settings import Settings
from support.waiting import until

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        (" 7D ", NOW - timedelta(days=7)),
        ("now", NOW),
        ("2026-05-04T11:00:00Z", NOW - timedelta(hours=1)),
        ("2026-05-04T13:00:00+02:00", NOW - timedelta(hours=1)),
        ("2026-05-04T13:00:00 02:00", NOW - timedelta(hours=1)),  # a + that was not escaped
        ("1777892400", NOW - timedelta(hours=1)),
    ],
)
def test_times_are_understood(text: str, meant: datetime) -> None:
    """Absolute ones with their zone, and how long ago."""
    assert moment("since", text, NOW) == meant


@pytest.mark.parametrize(
    "text", ["", "yesterday", "12:00", "2026-05-04T11:00:00", "2026-05-04", "99999999999999d", "-1h", "1e3s",
             "9999-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "٣h", "2026-13-01T00:00:00Z", "1969-01-01T00:00:00Z"]
)  # fmt: skip
def test_what_is_no_time_is_refused_by_its_name(text: str) -> None:
    """400 with the parameter, never an error of ours."""
    with pytest.raises(ProblemError) as refused:
        moment("since", text, NOW)
    assert refused.value.problem.status == 400
    assert refused.value.problem.errors[0]["name"] == "since"


def test_a_span_begins_before_it_ends() -> None:
    """By default so long before its end; backwards it is refused."""
    assert between(None, "1d", NOW, "1h").seconds == 3600
    assert between("2h", "1h", NOW, "1h").seconds == 3600
    with pytest.raises(ProblemError):
        between("1h", "2h", NOW, "1h")


def test_equal_questions_at_the_same_time_are_asked_once() -> None:
    """Ten readers, one question; another key is another question; afterwards it is asked anew."""
    work = SharedWork("test", 2)
    go, asked = threading.Event(), []

    def question() -> int:
        asked.append(1)
        go.wait(30)
        return len(asked)

    futures = [work.submit("key", question) for _ in range(10)]
    other = work.submit("other", lambda: "other")
    assert other.result(30) == "other"
    go.set()
    assert {future.result(30) for future in futures} == {1}
    assert work.submit("key", question).result(30) == 2
    assert (work.asked, work.shared) == (3, 9)
    work.close()


def test_an_error_reaches_everybody_who_asked_and_is_not_kept() -> None:
    """Each of them; the next one asks again."""
    work = SharedWork("test", 1)
    go = threading.Event()

    def fails() -> None:
        go.wait(30)
        raise ValueError("no")

    futures = [work.submit("key", fails) for _ in range(3)]
    go.set()
    for future in futures:
        with pytest.raises(ValueError, match="no"):
            future.result(30)
    assert work.submit("key", lambda: 5).result(30) == 5
    work.close()


def test_questions_beyond_what_may_wait_are_refused() -> None:
    """503 at once, so that a store that hangs does not gather questions without end."""
    work = SharedWork("test", 1, most_waiting=2)
    go = threading.Event()
    futures = [work.submit(number, lambda: go.wait(30)) for number in range(3)]
    with pytest.raises(ProblemError) as refused:
        work.submit("one more", lambda: 1)
    assert refused.value.problem.error == "busy"
    go.set()
    assert all(future.result(30) for future in futures)
    work.close()


def test_questions_side_by_side_keep_their_order_and_raise_the_first_error() -> None:
    """What each found, in the order given."""
    assert side_by_side(lambda: 1, lambda: "b", lambda: None) == [1, "b", None]

    def fails() -> None:
        raise ValueError("second")

    with pytest.raises(ValueError, match="second"):
        side_by_side(lambda: 1, fails)


def _settings() -> Settings:
    return Settings(kafka="127.0.0.1:1", clickhouse="http://127.0.0.1:1/x")


def test_freshness_is_asked_for_when_somebody_wants_it_and_shared() -> None:
    """Nobody asks: the broker is not asked. Many ask at once: it is asked once or twice."""
    asked: list[int] = []

    def read(*_: object, **__: object) -> Freshness:
        asked.append(1)
        return Freshness(NOW, 0.0, 0)

    keeper = FreshnessKeeper(_settings(), None, read=read)  # type: ignore[arg-type]
    assert asked == []
    threads = [threading.Thread(target=keeper.current) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert keeper.current().as_of == NOW
    assert 1 <= len(asked) < 20
    keeper.close()


def test_a_broker_that_hangs_leaves_an_answer_that_says_so() -> None:
    """After a second nothing is known, and that is said."""
    go = threading.Event()

    def read(*_: object, **__: object) -> Freshness:
        go.wait(30)
        return Freshness(NOW, 0.0, 0)

    keeper = FreshnessKeeper(_settings(), None, read=read)  # type: ignore[arg-type]
    found = keeper.current()
    assert found.as_of is None
    assert "did not answer" in str(found.problem)
    go.set()
    keeper.close()


def test_an_answer_from_earlier_numbers_keeps_their_time() -> None:
    """`as_of` is never later than what was asked."""
    answer = WaitsAnswer(since=NOW, until=NOW, one_in=1, items=[], as_of=NOW, behind_seconds=3.0)
    later = Freshness(NOW + timedelta(seconds=5), 0.0, 0)
    assert fresh(answer, later).as_of == NOW
    assert fresh(answer, later).behind_seconds == 3.0
    plain = WaitsAnswer(since=NOW, until=NOW, one_in=1, items=[])
    assert fresh(plain, later).as_of == later.as_of
    assert fresh(plain, Freshness(problem="away")).freshness_problem == "away"


def test_a_page_states_the_freshness_of_the_oldest_that_it_shows() -> None:
    """Numbers of a moment ago are not said to be of now; what cannot be known stays unknown."""
    answer = WaitsAnswer(since=NOW, until=NOW, one_in=1, items=[], as_of=NOW, behind_seconds=3.0)
    later, blind = Freshness(NOW + timedelta(seconds=5), 0.0, 0), Freshness(problem="away")
    stated = freshness_of(answer, later)
    assert (stated.as_of, stated.behind_seconds) == (NOW, 3.0)
    assert freshness_of(answer, blind) is blind
    assert freshness_of(fresh(answer, later), Freshness(NOW, 0.0, 0)).as_of == NOW


def test_a_token_for_some_pipelines_sees_no_others() -> None:
    """It names one of them, or has only one."""
    assert refuse_others(Principal("a", "read"), None) is None
    one = Principal("a", "read", ("x",))
    assert refuse_others(one, None) == "x"
    two = Principal("a", "read", ("x", "y"))
    assert refuse_others(two, "y") == "y"
    for principal, pipeline in ((one, "y"), (two, None), (two, "X")):
        with pytest.raises(ProblemError) as refused:
            refuse_others(principal, pipeline)
        assert refused.value.problem.status == 403


class CountedStore:
    """A store that has nothing, and counts how often it is asked; while `held` it waits."""

    def __init__(self) -> None:
        self.asked = 0
        self._lock = threading.Lock()
        self.held = threading.Event()
        self.held.set()
        self.took: Callable[[], None] = lambda: None

    def rows(self, sql: str, parameters: object = None, settings: object = None) -> list[dict[str, Any]]:
        with self._lock:
            self.asked += 1
            self.took()
        assert self.held.wait(30)
        return []


def test_numbers_of_now_are_asked_for_once_and_say_of_when_they_are() -> None:
    """Many readers: one question each moment; past it the older numbers are given while newer ones come."""
    store, time, behind = CountedStore(), [100.0], [0.0]
    keeper = NumbersKeeper(store, lambda: Freshness(NOW, behind[0], 0), clock=lambda: time[0])
    for _ in range(20):
        assert keeper.current(None).freshness.behind_seconds == 0.0
    once = store.asked
    assert once == 4  # failing, in progress, stalls, verdicts
    behind[0], time[0] = 7.0, 105.0
    store.held.clear()
    assert [keeper.current(None).freshness.behind_seconds for _ in range(5)] == [0.0] * 5
    store.held.set()
    time[0] = 1000.0  # after a pause nobody is given what is that old
    assert keeper.current(None).freshness.behind_seconds == 7.0
    assert store.asked <= 3 * once
    keeper.current("another")
    assert store.asked > once


def test_what_fails_is_counted_again_only_when_an_event_was_added_or_after_a_minute() -> None:
    """While the position of the projection is the same, stalls and verdicts alone are asked for."""
    store, time, position = CountedStore(), [100.0], [((0, 7),)]
    keeper = NumbersKeeper(store, lambda: Freshness(NOW, 0.0, 0, position=position[0]), clock=lambda: time[0])

    def asked_at(moment: float) -> int:
        before, time[0] = store.asked, moment
        keeper.current(None)
        return store.asked - before

    assert asked_at(100.0) == 4
    assert asked_at(140.0) == 2
    position[0] = ((0, 8),)
    assert asked_at(180.0) == 4
    assert asked_at(220.0) == 2
    assert asked_at(260.0) == 4  # something may have been erased


def test_counts_that_took_long_are_kept_while_events_are_added_and_state_their_own_freshness() -> None:
    """Ten times as long as counting took, half a minute at most; what needs no counting is asked for meanwhile."""
    store, time, behind = CountedStore(), [100.0], [0.0]
    store.took = lambda: time.__setitem__(0, time[0] + 0.5)  # four statements: two seconds
    keeper = NumbersKeeper(
        store,
        lambda: Freshness(NOW, behind[0], 0, position=((0, int(behind[0])),)),
        clock=lambda: time[0],
    )
    assert keeper.current(None).freshness.behind_seconds == 0.0
    counted_at = time[0]
    store.took = lambda: None  # time stands still while newer numbers are waited for: they are asked for once
    for wait_s, statements, stated in ((11.0, 2, 0.0), (19.0, 2, 0.0), (35.0, 4, 9.0)):
        behind[0], time[0] = 9.0, counted_at + wait_s
        before = store.asked
        until(lambda: keeper.current(None).freshness.behind_seconds == stated, "the newer numbers")  # noqa: B023
        until(lambda: store.asked - before == statements, "the statements of the newer numbers")  # noqa: B023
        until(lambda: not keeper._kept[None].refreshing, "their being kept")  # before time goes on


def test_what_every_page_needs_is_asked_for_once_in_a_moment() -> None:
    """Many readers at once included; nothing, and an error, are not kept."""
    time, answers = [0.0], [["p"], ["p", "q"]]
    kept: Kept[list[str]] = Kept(10.0, clock=lambda: time[0])
    found = side_by_side(*[lambda: kept.get("all", lambda: answers.pop(0))] * 8)
    assert found == [["p"]] * 8
    time[0] = 10.0
    assert kept.get("all", lambda: answers.pop(0)) == ["p", "q"]
    assert kept.get("none", list) == []
    assert kept.get("none", lambda: ["x"]) == ["x"]
    with pytest.raises(IndexError):
        kept.get("error", lambda: answers.pop(0))
    assert kept.get("error", lambda: ["y"]) == ["y"]


@pytest.mark.parametrize("topic_id", ["", "ucZeBUVZ", "a/b/c", "/", "x+y/=="])
def test_a_page_of_dead_letters_goes_on_whatever_the_id_of_the_topic(topic_id: str) -> None:
    """Kafka's ids are base64, which has slashes."""
    place = (topic_id, 3, 1734)
    assert letter_after(letter_cursor(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        seal(b"x"),
        seal(b"a/b/c"),
        seal(b"a/1/99999999999999999999"),
        seal(b"a/-1/2"),
        seal(b"\xff/1/2"),
        "zz",
        "AQAGYXKcTJt1AaIpoNg4dMaH0bO5wOuhruwcb5o",
    ],
)
def test_another_cursor_is_none_of_dead_letters(text: str) -> None:
    """400, as for any other page."""
    with pytest.raises(BadCursor):
        letter_after(text)


def test_csv_has_no_formulas_and_no_nul() -> None:
    """What a spreadsheet would run is text; what is nested is JSON; numbers stay numbers."""
    items = [
        {
            "a": '=HYPERLINK("x")',
            "b": -1.5,
            "c": {"k": [1]},
            "d": None,
            "e": "x\x00y",
            "f": "-2+3",
            "g": "línea\nzwei",
        }
    ]
    text = b"".join(written(iter(items), "csv", "abcdefg")).decode()
    assert text == 'a,b,c,d,e,f,g\r\n"\'=HYPERLINK(""x"")",-1.5,"{""k"":[1]}",,x�y,\'-2+3,"línea\nzwei"\r\n'


def test_a_file_of_nothing_has_its_names() -> None:
    """So that it is seen to be empty."""
    assert b"".join(written(iter([]), "csv", ["a", "b"])) == b"a,b\r\n"


def test_json_lines_are_one_line_each() -> None:
    """Whatever is in them."""
    items = [{"a": "x\ny\u2028z"}, {"a": "\u202e"}]
    lines = b"".join(written(iter(items), "jsonl", "a")).split(b"\n")
    assert len(lines) == 3
