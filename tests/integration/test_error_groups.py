"""Error groups as people meet them: listed, shown, resolved, muted, back; on real tables, by call and by command."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from steptrail.deploy.cli.commands.groups import sparkline
from steptrail.deploy.terminal.failures import NO, OK, UNREACHABLE, USAGE
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.reading.reader import Reader
from steptrail.projections.stores.error_groups import (
    GroupState,
    UnknownGroup,
    act,
    error_group,
    error_groups,
    rule,
    set_rule,
)
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.event import us_from_datetime
from steptrail.schemas.status import ProcessingStatus as S
from support.command_line import Command, command_line
from support.counted import Consumer, empty
from support.projected import T0, Arrival, Tables, event
from support.stack import Stack, new_workspace

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[Settings]:
    with new_workspace(stack) as settings:
        yield settings


@pytest.fixture
def store(database: Settings) -> Iterator[ClickHouse]:
    with connect(database) as clickhouse:
        empty(clickhouse)
        clickhouse.command("TRUNCATE TABLE steps")
        yield clickhouse


@pytest.fixture
def command(
    database: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command line: its exit code and what it wrote."""
    return command_line(database, monkeypatch, capsys)


class Errors:
    """Errors so long ago, one consumer for all of them."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._consumer = Consumer(clickhouse)
        self._now = time.time()

    def made(self, ago: timedelta, message: str, *, times: int = 1, **more: Any) -> list[tuple[int, Arrival]]:
        at = int((self._now - ago.total_seconds()) * 1e6)
        values = {"doc_id": "d", "error_message": message, **more}
        return [(0, (event(S.ERROR, at - T0, **values), at)) for _ in range(times)]

    def count(self, log: Iterable[tuple[int, Arrival]]) -> None:
        self._consumer.count(list(log))

    def add(self, ago: timedelta, message: str, *, times: int = 1, **more: Any) -> None:
        self.count(self.made(ago, message, times=times, **more))

    def add_now(self, message: str, **more: Any) -> None:
        self._now = time.time()
        self.add(timedelta(0), message, **more)


def state(store: ClickHouse) -> GroupState:
    (only,) = error_groups(store)
    return only.state


def test_a_group_goes_from_new_to_ongoing(store: ClickHouse) -> None:
    """By its first event, for as long as the rule says."""
    errors = Errors(store)
    errors.add(23 * HOUR, "no page 1")
    assert state(store) is GroupState.NEW
    errors.add(25 * HOUR, "no page 2")
    assert state(store) is GroupState.ONGOING
    set_rule(store, by="me", new_for=2 * DAY)
    assert state(store) is GroupState.NEW
    assert rule(store) == (2 * DAY, 7 * DAY)


def test_a_group_that_was_silent_for_long_is_back(store: ClickHouse) -> None:
    """Seen again after a week: regressed for a day, then ongoing; after six days it had never been away."""
    errors = Errors(store)
    for ago in (40 * DAY, 9 * DAY, 3 * DAY):
        errors.add(ago, "no page 1")
    assert state(store) is GroupState.ONGOING  # back after a month and gone again, long ago
    set_rule(store, by="me", silent_after=2 * DAY)
    errors.add(HOUR, "no page 1")
    assert state(store) is GroupState.REGRESSED
    set_rule(store, by="me", silent_after=7 * DAY)
    assert state(store) is GroupState.ONGOING
    # A late event that shows the silence to have been none.
    set_rule(store, by="me", silent_after=2 * DAY)
    errors.add(2 * DAY - 2 * HOUR, "no page 1")
    assert state(store) is GroupState.ONGOING


def test_resolved_regressed_muted_reopened(store: ClickHouse) -> None:
    """What people say holds until it is contradicted: by a later event for resolved, by nobody for muted."""
    errors = Errors(store)
    errors.add(HOUR, "no page 1")
    (group,) = error_groups(store)
    told = act(store, group.group_id[:6].upper(), "RESOLVE", by="ada@host", reason="fixed")
    assert told.group.state is GroupState.RESOLVED
    assert (told.group.acted_by, told.group.reason) == ("ada@host", "fixed")
    errors.add(HOUR / 2, "no page 2")  # it came late, but had happened before
    assert state(store) is GroupState.RESOLVED
    errors.add_now("no page 3")
    assert state(store) is GroupState.REGRESSED
    assert act(store, group.group_id, "MUTE", by="bob@host").group.state is GroupState.MUTED
    errors.add_now("no page 4")
    assert state(store) is GroupState.MUTED
    told = act(store, group.group_id, "REOPEN", by="ada@host", reason="it matters")
    assert told.group.state is GroupState.NEW
    assert [(done.action, done.acted_by, done.reason) for done in told.actions] == [
        ("REOPEN", "ada@host", "it matters"),
        ("MUTE", "bob@host", ""),
        ("RESOLVE", "ada@host", "fixed"),
    ]
    assert (told.group.count, told.group.documents) == (4, 1)


def test_ids_are_known_by_their_beginning(store: ClickHouse) -> None:
    """If it is the beginning of one only; nothing is written for one that is unknown."""
    errors = Errors(store)
    errors.count(one for letter in "abcdefghijklmnopqrstuvwxyz" for one in errors.made(HOUR, f"bad {letter}"))
    ids = [group.group_id for group in error_groups(store)]
    assert len(set(ids)) == 26
    twice = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)
    for unknown, told in (
        (twice, "several"),
        ("zz", "no id"),
        ("' OR 1=1", "no id"),
        ("0" * 16, "no error group"),
    ):
        with pytest.raises(UnknownGroup, match=told):
            act(store, unknown, "MUTE", by="me")
    assert store.query("SELECT count() FROM error_group_actions") == [(0,)]


def test_a_listing_says_for_what_it_stands(store: ClickHouse) -> None:
    """Most errors first; the other groups and their errors are counted, also those that were not looked at."""
    errors = Errors(store)
    errors.count(
        one
        for number in range(12)
        for one in errors.made(HOUR, "bad " + "x" * number, times=number + 1, doc_id=f"doc-{number}")
    )
    errors.add(5 * DAY, "long ago", times=100)
    errors.add(HOUR, "elsewhere", pipeline="q", step_name="ocr", error_type="OSError")
    since = datetime.now(timezone.utc) - DAY
    found = error_groups(store, since=since, limit=3)
    assert [group.count for group in found] == [12, 11, 10]
    assert (found.other_groups, found.other_errors, found.not_looked_at) == (10, 45 + 1, 0)
    bounded = error_groups(store, since=since, limit=3, looked_at=5)
    assert [group.count for group in bounded] == [12, 11, 10]
    assert (bounded.other_groups, bounded.other_errors, bounded.not_looked_at) == (10, 46, 8)
    (there,) = error_groups(store, "q", "ocr")
    assert (there.error_type, there.template, there.lately) == ("OSError", "elsewhere", 1)
    assert len(error_groups(store, "q", "parse")) == len(error_groups(store, "nobody")) == 0
    assert not error_groups(store, states=["MUTED"]).items
    with pytest.raises(ValueError, match="limit"):
        error_groups(store, limit=501)


def test_a_group_shows_its_latest_events(store: ClickHouse) -> None:
    """With different messages, the latest first, and the trend by hour."""
    errors = Errors(store)
    errors.count(
        one
        for number in range(6)
        for one in errors.made((6 - number) * HOUR, f"no page {number}", doc_id=f"doc-{number}", times=2)
    )
    (group,) = error_groups(store)
    details = error_group(store, group.group_id)
    assert [one.message for one in details.examples] == [f"no page {number}" for number in reversed(range(6))]
    assert [one.doc_id for one in details.examples][:2] == ["doc-5", "doc-4"]
    [(event_id,)] = store.query(
        "SELECT toString(event_id) FROM health_events ORDER BY broker_time DESC, event_id DESC LIMIT 1"
    )
    assert details.examples[0].event_id == event_id
    assert [errors for _, errors in details.group.trend] == [2] * 6


def test_groups_at_the_command_line(store: ClickHouse, command: Command) -> None:
    """List, show, resolve, mute, reopen, rule; tables for people, lines of JSON for programs."""
    code, out, _ = command("groups")
    assert (code, "No such error groups" in out) == (OK, True)
    errors = Errors(store)
    errors.count(
        one
        for number in range(3)
        for one in errors.made(HOUR, f"[bold]page {number}: no '{number}'", times=2)
    )
    errors.add(HOUR, "other")
    code, out, err = command("groups", "--json", "--limit", "1")
    first, about = json.loads(out), json.loads(err)
    assert code == OK
    assert (first["template"], first["count"], first["state"]) == ("[bold]page <num>: no <str>", 6, "NEW")
    assert (about["other_groups"], about["other_errors"], about["not_looked_at"]) == (1, 1, 0)
    assert sum(hour["errors"] for hour in first["trend"]) == first["lately"] == 6
    code, out, _ = command("groups", "--limit", "1")
    assert code == OK
    assert "[bold]page <num>" in out
    assert "1 other group" in out
    known = first["group_id"]
    code, out, _ = command("groups", "resolve", known[:8], "--reason", "fixed in 1.4.2", "--yes")
    assert (code, "is RESOLVED now" in out) == (OK, True)
    code, out, _ = command("groups", "show", known)
    assert code == OK
    assert "fixed in 1.4.2" in out
    assert "[bold]page 2: no '2'" in out
    code, out, _ = command("groups", "show", known, "--json")
    shown = json.loads(out)
    assert (shown["state"], shown["actions"][0]["action"], len(shown["examples"])) == (
        "RESOLVED",
        "RESOLVE",
        3,
    )
    code, out, _ = command("groups", "mute", known, "--yes", "--json")
    assert json.loads(out)["state"] == "MUTED"
    code, out, _ = command("groups", "reopen", known, "--yes", "--json")
    assert json.loads(out)["state"] == "NEW"
    code, out, _ = command("groups", "--state", "muted", "--state", "resolved", "--json")
    assert (code, out) == (OK, "")
    code, out, _ = command("groups", "rule", "--new-for", "2d", "--yes", "--json")
    assert json.loads(out) == {
        "new_for_seconds": 172_800,
        "silent_after_seconds": 604_800,
        "dry_run": False,
    }
    assert command("groups", "rule", "--silent-after", "5m")[0] == USAGE
    assert command("groups", "--state", "bad")[0] == USAGE
    assert command("groups", "show", "ffffffffffffffff")[0] == NO


def test_groups_without_a_store(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3."""
    monkeypatch.setenv("STEPTRAIL_CLICKHOUSE", "http://127.0.0.1:9/steptrail")
    assert command("groups")[0] == UNREACHABLE


def test_recent_errors_are_grouped_on_the_spot(store: ClickHouse, command: Command) -> None:
    """From steps, exactly for any span of time, an event that was sent twice once; the ids are those of the groups."""
    now = us_from_datetime(datetime.now(timezone.utc)) - T0
    log = [
        event(S.ERROR, now - n * 1_000_000, doc_id=f"d{n % 3}", error_message=f"no page {n}")
        for n in range(10)
    ]
    log += [
        event(S.WARNING, now, error_message="slow"),
        event(S.FAILED, now, error_message="gone", pipeline="q"),
    ]
    Tables(store).write([*log, *log[:4]])
    Consumer(store).count([(0, (one, one.timestamp)) for one in log])
    since = datetime.now(timezone.utc) - HOUR
    found = Reader(store).recent_error_groups("p", since)
    (only,) = found
    assert (only.template, only.count, only.documents, only.message) == ("no page <num>", 10, 3, "no page 0")
    assert (found.other_groups, found.other_errors) == (0, 0)
    (counted,) = error_groups(store, "p")
    assert only.group_id == counted.group_id
    assert (only.count, only.documents) == (counted.count, counted.documents)
    later = datetime.fromtimestamp((T0 + now - 4_500_000) / 1e6, timezone.utc)
    assert [group.count for group in Reader(store).recent_error_groups("p", later)] == [5]
    every = Reader(store).recent_error_groups(None, since, include_warnings=True, limit=1)
    assert (len(every), every.other_groups, every.other_errors) == (1, 2, 2)
    code, out, err = command("errors", "--group", "--limit", "1", "--json")
    first, about = json.loads(out), json.loads(err)
    assert (code, first["count"], about["other_groups"], about["other_errors"]) == (OK, 10, 1, 1)
    code, out, _ = command("errors", "--group")
    assert (code, "no page <num>" in out) == (OK, True)
    assert command("errors", "--group", "--after", "x")[0] == USAGE


def test_the_sparkline_has_a_bar_for_each_span() -> None:
    """Empty hours are blank, the highest is full, and a week fits as well."""
    start = datetime(2026, 5, 4, 12, 30, tzinfo=timezone.utc)
    hours = [start.replace(minute=0) + n * HOUR for n in range(4)]
    assert sparkline([(hours[0], 1), (hours[2], 8)], start, hours[3]) == "▁ █ "
    assert len(sparkline([(hours[0], 1)], start, start + 7 * DAY)) <= 24
    assert sparkline([], start, hours[3]) == "    "
