"""What people ask of a store, one question a name, as the command line, the API and the pages ask it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bench.scale.world import World
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.queries import Store
from steptrail.projections.reading.documents import documents_by_time
from steptrail.projections.reading.failing import failing, failing_counts
from steptrail.projections.reading.reader import Reader
from steptrail.projections.reading.search import search
from steptrail.projections.reading.spans import Span
from steptrail.projections.stores.error_groups import error_groups
from steptrail.schemas.status import ProcessingStatus

Document = tuple[str, str]
TEXTS = ("no space left", "connection reset", "xref", "within 30 s", "nowhere to be found")


class Asked:
    """Documents to ask for, each once, and times that no two questions share."""

    def __init__(self, world: World, documents: Sequence[Document]) -> None:
        self.world = world
        self.chance = random.Random(3)
        self._documents = iter(documents)

    def document(self) -> Document:
        """One that was not asked for yet."""
        return next(self._documents)

    def pipeline(self) -> str | None:
        """All pipelines, or one of them."""
        return self.chance.choice((None, "invoices-3", "contracts-7", "web-archive-11"))

    def span(self, **length: float) -> Span:
        """So much time up to the last events."""
        since = self.world.last_event - timedelta(**length) - timedelta(seconds=60 * self.chance.random())
        return Span(since, self.world.last_event + timedelta(seconds=1))


@dataclass(frozen=True)
class Question:
    """How to ask, how often, and within how many milliseconds 99 of 100 are to be answered (None: no bound)."""

    ask: Callable[[Store, Asked], object]
    times: int
    bound_ms: float | None = None
    bound_growth: float | None = None
    """How many times longer the median may take with ten times the events."""


def _recent_errors(store: Store, asked: Asked) -> object:
    hours = asked.chance.choice((1, 24))  # one pipeline has fewer than 100 in an hour
    since = asked.span(hours=hours).since
    assert since is not None
    found = Reader(store).recent_errors(asked.pipeline(), since, limit=100)
    assert len(found) == 100 or hours == 1 or asked.world.session.quick, len(found)
    return found


def _recent_errors_ever(store: Store, asked: Asked) -> object:
    return Reader(store).events(asked.pipeline(), statuses=(ProcessingStatus.FAILED,), limit=100)


def _documents_by_state(store: Store, asked: Asked) -> object:
    status = asked.chance.choice(
        (ProcessingStatus.FAILED, ProcessingStatus.SUCCESS, ProcessingStatus.RUNNING)
    )
    return documents_by_time(store, asked.pipeline(), statuses=(status,), limit=50)


def _step_minutes(store: Store, asked: Asked) -> object:
    start = asked.span(hours=24).parameters()["start_us"] // 1_000_000
    return store.rows(
        "SELECT toStartOfInterval(minute, toIntervalMinute(15)) AS at, pipeline, step_name, sum(events), sum(error), "
        "quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(durations) FROM step_minutes "
        "WHERE minute >= toDateTime({start:Int64}, 'UTC') GROUP BY at, pipeline, step_name",
        {"start": start},
    )


QUESTIONS: dict[str, Question] = {
    "timeline": Question(
        lambda store, asked: Reader(store).timeline(*asked.document(), limit=100), 500, 60, 1.5
    ),
    "timeline_of_any_pipeline": Question(
        lambda store, asked: Reader(store).timeline(None, asked.document()[1], limit=100), 200
    ),
    "document_state": Question(lambda store, asked: Reader(store).document_state(*asked.document()), 300),
    "recent_errors": Question(_recent_errors, 300, 120),
    "recent_errors_ever": Question(_recent_errors_ever, 100),
    "documents_by_state": Question(_documents_by_state, 100, 300),
    "failing": Question(lambda store, asked: failing(store, asked.pipeline(), limit=50), 100),
    "failing_counts_of_a_day": Question(
        lambda store, asked: failing_counts(store, None, span=asked.span(hours=24)), 10
    ),
    "failing_counts": Question(lambda store, asked: failing_counts(store, None), 3),
    "error_groups_of_a_day": Question(
        lambda store, asked: error_groups(store, asked.pipeline(), since=asked.span(hours=24).since), 30
    ),
    "step_minutes_of_a_day": Question(_step_minutes, 30),
    "search_documents": Question(
        lambda store, asked: search(store, asked.document()[1][-12:-4], kinds=("documents",)), 10
    ),
    "search_errors_of_a_day": Question(
        lambda store, asked: search(
            store, asked.chance.choice(TEXTS), span=asked.span(hours=24), kinds=("errors", "groups")
        ),
        20,
    ),
}


def documents(clickhouse: ClickHouse, events: int, count: int) -> list[Document]:
    """So many documents of all pipelines, drawn at random from `events` events."""
    found = clickhouse.query(
        "SELECT pipeline, doc_id FROM steps WHERE cityHash64(doc_id) % {one_in:UInt64} = 0 "
        "GROUP BY pipeline, doc_id ORDER BY sipHash64(doc_id) LIMIT {count:UInt64}",
        {"one_in": max(1, events // (count * 40)), "count": count},
    )
    return [(str(pipeline), str(doc_id)) for pipeline, doc_id in found]
