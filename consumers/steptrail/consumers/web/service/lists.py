"""The lists that can be had whole, by name: what the API and the command line write as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from steptrail.consumers.web.models.common import Answer
from steptrail.consumers.web.service import documents as of_documents
from steptrail.consumers.web.service import operations as of_operations
from steptrail.consumers.web.service import work as of_work
from steptrail.consumers.web.service.export import PAGE
from steptrail.consumers.web.service.now import Now
from steptrail.consumers.web.spans import Between
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.queries import Store
from steptrail.projections.reading.completeness import CompletenessState
from steptrail.projections.reading.in_progress import OPEN
from steptrail.projections.stores.dead_letter_store import STATES, Selection
from steptrail.projections.stores.error_groups import GroupState
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.status import ProcessingStatus

ListName = Literal[
    "failing", "in-progress", "documents", "steps", "throughput", "waits", "error-groups", "losses", "emitters",
    "dead-letters", "incomplete",
]  # fmt: skip
LIST_NAMES: Final[tuple[ListName, ...]] = get_args(ListName)

Pages = Callable[[str | None], Answer]
"""Asks for the page after a cursor, the first one for None."""


@dataclass(frozen=True)
class Sources:
    """Where lists come from; `numbers` gives what is so now in one pipeline, or in all of them."""

    store: Store
    clickhouse: ClickHouse
    settings: Settings
    numbers: Callable[[str | None], Now]


def list_pages(
    sources: Sources,
    what: ListName,
    pipeline: str | None,
    step_name: str | None,
    span: Between,
    statuses: tuple[ProcessingStatus, ...],
) -> Pages:
    """The pages of a list, for a span of time where the list has one."""
    store = sources.store
    letters = of_operations.letter_store(sources.clickhouse, sources.settings)
    bad = (ProcessingStatus.ERROR, ProcessingStatus.FAILED)

    def dead_letters(after: str | None) -> Answer:
        chosen = Selection(
            pipelines=() if pipeline is None else (pipeline,),
            since=span.since,
            until=span.until,
            states=STATES,
        )
        place = None if after is None else of_operations.letter_after(after)
        return of_operations.letters_answer(letters, chosen, place, PAGE)

    asks: dict[ListName, Pages] = {
        "failing": lambda after: of_work.failing_answer(store, pipeline, step_name, span, bad, after, PAGE),
        "in-progress": lambda after: of_work.in_progress_answer(
            store, pipeline, step_name, OPEN, False, after, PAGE
        ),
        "documents": lambda after: of_documents.documents_answer(
            store, pipeline, "recent", "", statuses, span, after, PAGE
        ),
        "steps": lambda _: of_work.steps_answer(store, sources.numbers(pipeline), pipeline, step_name, span),
        "throughput": lambda _: of_work.throughput_answer(store, pipeline, step_name, span, None, True),
        "waits": lambda _: of_work.waits_answer(store, pipeline, step_name, span),
        "error-groups": lambda _: of_operations.groups_answer(
            store, pipeline, step_name, tuple(GroupState), span, PAGE
        ),
        "losses": lambda _: of_operations.losses_answer(store, letters, pipeline, span, True, 10_000),
        "emitters": lambda _: of_operations.emitters_answer(store, pipeline, span, 10_000, False),
        "dead-letters": dead_letters,
        "incomplete": lambda after: of_documents.incomplete_answer(
            store, pipeline, tuple(CompletenessState), None, after, PAGE
        ),
    }
    return asks[what]
