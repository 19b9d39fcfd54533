"""How many statements an answer of the pages takes, and that fewer of them find the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from steptrail.consumers.health.check import HealthCheck
from steptrail.consumers.health.rules import HealthStatus
from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.service.documents import document_answer
from steptrail.consumers.web.service.now import Now
from steptrail.consumers.web.service.work import overview_answer
from steptrail.consumers.web.spans import Between
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.reading.group_of_error import group_and_documents
from steptrail.projections.stores.error_groups import error_group, error_groups
from steptrail.projections.stores.expected_steps import declare_expected_steps
from steptrail.schemas.status import ProcessingStatus as S
from steptrail.schemas.topics import ensure_topics
from support.asked import Asked
from support.counted import Consumer
from support.projected import T0, Tables, event
from support.stack import Stack, new_workspace
from support.web import Api, serving

HOURS = 3_600_000_000
NOTHING = Now(Freshness(), {}, {}, {}, {})
CHECK = HealthCheck(HealthStatus.HEALTHY, "well", (), None, None, None, None, 0.0)


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[ClickHouse]:
    """One document of four steps, one of them tried twice; errors of 14 groups within four hours."""
    with new_workspace(stack) as settings, connect(settings) as clickhouse:
        statuses = [(S.RUNNING, 1), (S.ERROR, 1), (S.RUNNING, 2), (S.SUCCESS, 2)]
        Tables(clickhouse).write(
            [
                event(
                    status, place * 1000 + n, execution=n * 10 + attempt, attempt=attempt, step_name=f"s{n}"
                )
                for n in range(4)
                for place, (status, attempt) in enumerate(statuses[2:] if n else statuses)
            ]
        )
        declare_expected_steps(clickhouse, "p", ["s0", "s1", "s2", "s3", "s9"])
        now_us = int(datetime.now(timezone.utc).timestamp() * 1e6)
        errors = []
        for number in range(14):
            word = chr(ord("a") + number)
            for hour in range(number % 4 + 1):
                at = now_us - hour * HOURS - 1_000_000
                failed = event(
                    S.ERROR, at - T0, doc_id=f"d{number}{hour}", error_message=f"no page in {word}"
                )
                errors.append((0, (failed, at)))
        Consumer(clickhouse).count(errors)
        yield clickhouse


def _span(hours: float) -> Between:
    now = datetime.now(timezone.utc)
    return Between(now - timedelta(hours=hours), now)


def test_a_document_takes_three_statements(database: ClickHouse) -> None:
    """Its events, whether it was observed, the declared steps: side by side, and nothing twice."""
    asked = Asked(database)
    [found] = document_answer(asked, "d", "p").items
    assert asked.statements == 3
    assert (found.status, found.events_total, len(found.steps)) == ("SUCCESS", 10, 4)
    assert found.completeness is not None
    assert found.completeness.missing == ["s9"]
    assert (found.first_at, found.last_at) == (found.events[0].timestamp, found.events[-1].timestamp)


def test_a_document_is_the_same_whether_its_pipeline_is_named_or_not(database: ClickHouse) -> None:
    """Without it the pipelines that know the document are found first."""
    assert document_answer(database, "d", None) == document_answer(database, "d", "p")


def test_a_long_document_is_the_same_but_for_the_events_that_are_left_out(
    database: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not all its events are shown at first, how many there are and when the last was is asked for."""
    [whole] = document_answer(database, "d", "p").items
    monkeypatch.setattr("steptrail.consumers.web.service.documents.FIRST_EVENTS", 3)
    [cut] = document_answer(database, "d", "p").items
    assert cut.next is not None
    named = ("status", "first_at", "last_at", "events_total", "completeness", "steps")
    assert [getattr(cut, name) for name in named] == [getattr(whole, name) for name in named]


ENDPOINTS = (
    *(
        "/overview",
        "/steps",
        "/failing",
        "/failing/counts",
        "/in-progress",
        "/in-progress/counts",
        "/throughput",
    ),
    *(
        "/waits",
        "/documents",
        "/document?doc_id=d&pipeline=p",
        "/events",
        "/search?q=no+page",
        "/error-groups",
    ),
    "/pipelines",
)


def _statements(api: Api) -> int:
    counted = re.findall(r"^steptrail_web_statements_total\{.*\} (\S+)$", api.exposition(), re.MULTILINE)
    return int(sum(map(float, counted)))


def test_equal_requests_are_put_to_the_store_once_and_anew_after_a_change(stack: Stack) -> None:
    """Ten of each: no more statements than one takes. Whoever mutes a group sees it muted."""
    with new_workspace(stack) as settings:
        ensure_topics(settings)
        with connect(settings) as clickhouse:
            now_us = int(datetime.now(timezone.utc).timestamp() * 1e6) - 1_000_000
            failed = event(S.ERROR, now_us - T0, error_message="no page in a")
            Tables(clickhouse).write([failed])
            Consumer(clickhouse).count([(0, (failed, now_us))])
        with serving(settings) as api, pytest.MonkeyPatch.context() as patched:
            patched.setattr("steptrail.consumers.web.kept_answers.WORTH", 1e9)  # on a machine of any speed
            patched.setattr("steptrail.consumers.web.kept_answers.MOST_S", 3_600.0)
            patched.setattr("steptrail.consumers.web.service.now._LEAST_S", 3_600.0)
            patched.setattr("steptrail.consumers.web.service.now._MOST_S", 3_600.0)
            once = [api.send("GET", address, None) for address in ENDPOINTS]
            assert {reply.status for reply in once} == {200}
            taken = _statements(api)
            assert taken > len(ENDPOINTS)
            for _ in range(9):
                again = [api.send("GET", address, None) for address in ENDPOINTS]
                assert [reply.body for reply in again] == [reply.body for reply in once]
            assert _statements(api) == taken
            [group] = api.get("/error-groups").json["items"]
            assert group["state"] == "NEW"
            assert api.post(f"/error-groups/{group['group_id']}/mute", {"reason": "known"}).status == 200
            assert [each["state"] for each in api.get("/error-groups").json["items"]] == ["MUTED"]
            assert _statements(api) > taken


def test_the_overview_takes_five_statements(database: ClickHouse) -> None:
    """Totals, series, error groups and their trends, up to when it was counted."""
    asked = Asked(database)
    found = overview_answer(asked, NOTHING, lambda: CHECK, None, _span(6))
    assert asked.statements == 5
    assert (len(found.changed), found.changed_more) == (10, 4)


@pytest.mark.parametrize("hours", [0.5, 2, 6])
def test_what_changed_is_the_same_whether_all_groups_are_at_hand_or_not(
    database: ClickHouse, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    """Chosen from all groups, or asked of the store where these are too many."""
    span = _span(hours)
    at_hand = overview_answer(database, NOTHING, lambda: CHECK, None, span)
    monkeypatch.setattr("steptrail.consumers.web.service.work._GROUPS_LISTED", 1)
    asked = overview_answer(database, NOTHING, lambda: CHECK, None, span)
    assert (at_hand.changed, at_hand.changed_more) == (asked.changed, asked.changed_more)


def test_the_group_of_an_error_is_found_with_its_documents_by_one_statement(database: ClickHouse) -> None:
    """The id that it was counted under, as many documents as the group's own page says; none for an unknown error.

    Once the id is known: what gives an error its id costs more than to count.
    """
    for group in error_groups(database):
        message = error_group(database, group.group_id).examples[0].message
        for statements in (2, 1):
            asked = Asked(database)
            told = group_and_documents(asked, group.pipeline, group.step_name, group.error_type, message)
            assert told == (group.group_id, group.documents)
            assert asked.statements == statements
    assert group_and_documents(database, "p", "never", None, "of this kind") is None
