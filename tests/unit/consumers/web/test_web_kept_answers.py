"""Equal questions within a short time are put to the store once, and nobody is given what is not for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.access.tokens import new_token
from steptrail.consumers.web.found import Found
from steptrail.consumers.web.kept_answers import MOST_S, WORTH, KeptAnswers
from steptrail.consumers.web.models.work import PipelineRow, PipelinesAnswer
from steptrail.projections.clickhouse.errors import StoreUnavailable
from support.waiting import until
from support.web_desk import AS_OF, Application, application

FRESH = Freshness(AS_OF, 0.0, 0)


@pytest.fixture
def api() -> Iterator[Application]:
    with application() as running:
        yield running


def statements(api: Application, *targets: str, headers: dict[str, str] | None = None) -> int:
    """How many statements these requests took, one after the other."""
    before = api.store.asked
    for target in targets:
        assert api.get(target, headers).status == 200
    return api.store.asked - before


@pytest.mark.parametrize(
    "target",
    [
        "/pipelines",
        "/failing?limit=7",
        "/error-groups",
        "/throughput",
        "/documents",
        "/in-progress",
        "/failing/counts",
        "/emitters",
        "/search?q=xyz",
    ],
)
def test_equal_questions_are_put_to_the_store_once(api: Application, target: str) -> None:
    """However many ask, also where the time that they ask about moves with the clock."""
    assert statements(api, target) > 0
    assert statements(api, *[target] * 20) == 0


def test_an_answer_that_was_kept_is_the_same_and_says_of_when_it_is(api: Application) -> None:
    """The same bytes and tag, the `as_of` of when it was read, and its age; the tag spares the body."""
    first = api.get("/pipelines")
    api.freshness.latest = Freshness(AS_OF + timedelta(seconds=3), 9.0, 7)
    api.store.now[0] += 3.0
    again = api.get("/pipelines")
    assert (again.body, again.headers["etag"]) == (first.body, first.headers["etag"])
    assert again.json["as_of"] == "2026-05-04T12:00:00Z"
    assert (again.headers["steptrail-behind-seconds"], again.headers["age"]) == ("0", "3")
    assert "age" not in first.headers
    spared = api.get("/pipelines", {"If-None-Match": first.headers["etag"]})
    assert (spared.status, spared.body, spared.headers["age"]) == (304, b"", "3")


def test_an_answer_is_kept_as_long_as_its_cost_is_worth_and_no_longer_than_seconds(api: Application) -> None:
    """A tenth of a second: five seconds. Two seconds: ten. Nothing: not at all."""
    for cost_s, good_for in ((0.1, WORTH * 0.1), (2.0, MOST_S)):
        api.desk.changed()
        api.store.cost_s = cost_s
        assert statements(api, "/pipelines") == 1
        api.store.now[0] += good_for - 0.001
        assert statements(api, "/pipelines") == 0
        api.store.now[0] += good_for
        assert statements(api, "/pipelines") == 1
    api.desk.changed()
    api.store.cost_s = 0.0
    assert statements(api, "/pipelines", "/pipelines") == 2


def test_past_its_time_an_answer_is_given_while_one_newer_is_asked_for_once(api: Application) -> None:
    """Only the first who asks waits; a pause later nobody is given what is that old."""

    async def asked() -> None:
        await api.send("/pipelines")
        api.store.now[0] += 5.5
        api.freshness.latest = Freshness(AS_OF + timedelta(seconds=5), 0.0, 0)
        api.store.go.clear()
        given = [await api.send("/pipelines") for _ in range(5)]
        assert {reply.json["as_of"] for reply in given} == {"2026-05-04T12:00:00Z"}
        api.store.go.set()
        await asyncio.to_thread(until, lambda: api.store.asked == 2, "the newer answer")
        while (newer := await api.send("/pipelines")).json["as_of"] != "2026-05-04T12:00:05Z":
            await asyncio.sleep(0.01)
        assert newer.status == 200

    asyncio.run(asked())
    assert api.store.asked == 2


def test_a_client_may_ask_past_what_is_kept(api: Application) -> None:
    """`Cache-Control: no-cache`, as a hard reload sends it; others are given what it found."""
    statements(api, "/pipelines")
    newest = {"Cache-Control": "max-age=0, No-Cache"}
    assert statements(api, "/pipelines", headers=newest) == 1
    assert statements(api, "/pipelines") == 0
    assert statements(api, "/pipelines", headers={"Cache-Control": "max-age=0"}) == 0


def test_a_change_empties_what_is_kept_also_one_that_failed(api: Application) -> None:
    """Whoever changes something and looks again is shown what is so now."""
    statements(api, "/pipelines")
    assert api.post("/error-groups/1f/mute", {"reason": "known"}).status == 503  # no store to write to
    assert statements(api, "/pipelines") == 1


def test_a_question_that_was_under_way_when_something_changed_is_neither_shared_nor_kept(
    api: Application,
) -> None:
    """It may have read the state before."""

    async def asked() -> None:
        api.store.go.clear()
        before = asyncio.create_task(api.send("/pipelines"))
        await asyncio.to_thread(until, lambda: api.store.asked == 1, "a question under way")
        api.desk.changed()
        after = asyncio.create_task(api.send("/pipelines"))
        await asyncio.to_thread(until, lambda: api.store.asked == 2, "a question of its own")
        api.store.go.set()
        assert {(await before).status, (await after).status} == {200}

    asyncio.run(asked())
    assert statements(api, "/pipelines") == 0


def test_another_token_is_never_given_an_answer_for_other_pipelines(tmp_path: Path) -> None:
    """The same address, in any order; two tokens that may see the same share an answer."""
    file = tmp_path / "tokens.toml"
    pipelines: dict[str, list[str]] = {"one": ["a"], "same": ["a"], "two": ["b"], "none": ["c"], "all": []}
    named = {
        name: {"Authorization": f"Bearer {new_token(file, name, 'read', of)}"}
        for name, of in pipelines.items()
    }
    with application(web_tokens=str(file)) as api:
        for name in ("all", "one", "two", "none", "same", "one", "all", "two"):
            seen = [each["pipeline"] for each in api.get("/pipelines", named[name]).json["items"]]
            assert seen == [each for each in ("a", "b") if each in (pipelines[name] or ("a", "b"))]
        assert api.store.asked == 4
        assert api.get("/failing?pipeline=a", named["one"]).status == 200
        assert api.get("/failing?pipeline=a", named["two"]).status == 403


@pytest.mark.parametrize("target", ["/freshness", "/whoami", "/health", "/silences", "/alerts"])
def test_what_costs_the_store_nothing_or_is_for_machines_is_never_kept(api: Application, target: str) -> None:
    """What is so now is what they are asked for."""
    api.get(target)
    assert len(api.desk.answers) == 0


def test_an_error_is_not_kept(api: Application) -> None:
    """Nor is what was kept given once store or broker were found not to answer."""
    api.store.problem = StoreUnavailable("away")
    assert api.get("/pipelines").status == 503
    api.store.problem = None
    assert api.get("/pipelines").status == 200
    api.store.problem = StoreUnavailable("away")
    assert api.get("/pipelines").status == 200
    api.freshness.latest = Freshness(problem="the store did not answer")
    assert api.get("/pipelines").status == 503


def test_an_answer_whose_freshness_is_unknown_is_not_kept(api: Application) -> None:
    """It cannot say of when it is."""
    api.freshness.latest = Freshness(problem="the broker did not answer")
    assert statements(api, "/pipelines", "/pipelines") == 2
    assert len(api.desk.answers) == 0


def _found(text: str, at: float) -> Found[Any]:
    return Found(FRESH, PipelinesAnswer(items=[PipelineRow(pipeline=text, steps=[])]), at)


def test_hostile_keys_and_answers_leave_memory_bounded() -> None:
    """Whatever is asked for: so many answers, so many bytes, keys counted; one that is huge is not kept."""
    now = [0.0]
    answers = KeptAnswers(clock=lambda: now[0])
    for number in range(3_000):
        now[0] += 1.0
        answers.keep(("x" * 12_000, number), answers.era, _found("y" * (number * 7), now[0] - 1.0))
        assert len(answers) <= 500
        assert answers.bytes <= 8_000_000
    assert answers.get(("x" * 12_000, 2_999)) is not None
    answers.keep("huge", answers.era, _found("y" * 1_000_000, now[0] - 1.0))
    assert answers.get("huge") is None
    answers.clear()
    assert (len(answers), answers.bytes) == (0, 0)


def test_an_answer_is_given_while_a_newer_one_waits_for_its_turn_but_not_for_ever() -> None:
    """An answer good for 10 s is given for 5 s more; from the renewal's claim, for 10 s more at most."""
    now = [10.0]
    answers = KeptAnswers(clock=lambda: now[0])
    answers.keep("key", answers.era, _found("y", 0.0))
    now[0] = 24.0
    assert answers.claim_renewal("key")
    assert not answers.claim_renewal("key")
    now[0] = 33.9
    assert answers.get("key") is not None
    now[0] = 34.1
    assert answers.get("key") is None
    answers.keep("other", answers.era, _found("y", 24.1))
    now[0] = 34.1 + 15.1  # nobody asked for a newer one
    assert answers.get("other") is None


def test_what_is_replaced_or_dropped_is_weighed_no_longer() -> None:
    """The count of bytes is that of what is there."""
    answers = KeptAnswers(clock=lambda: 1.0)
    for _ in range(100):
        answers.keep("key", answers.era, _found("y" * 1000, 0.0))
    once = answers.bytes
    assert once < 2_000
    answers.keep("other", answers.era, _found("y" * 1000, 0.0))
    answers.drop("key")
    answers.drop("key")
    assert 0 < answers.bytes < once + 10


def test_tuples_are_kept_and_weighed_and_what_others_keep_is_not() -> None:
    """The group of an error is a tuple; lists and numbers have keepers of their own."""
    answers = KeptAnswers(clock=lambda: 1.0)
    answers.keep("group", answers.era, Found(FRESH, ("1f", 12), 0.0))
    answers.keep("names", answers.era, Found(FRESH, ["a", "b"], 0.0))
    answers.keep("huge", answers.era, Found(FRESH, ("y" * 1_000_000,), 0.0))
    kept = answers.get("group")
    assert kept is not None
    assert kept.result == ("1f", 12)
    assert (len(answers), answers.get("names"), answers.get("huge")) == (1, None, None)
    assert 0 < answers.bytes < 100
