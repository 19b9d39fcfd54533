"""Documents of a state are looked up by names that are written into a statement, whatever they are, however many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.reading.documents import documents_by_time
from steptrail.schemas.status import ProcessingStatus as S
from support.projected import Tables, event
from support.stack import Stack, new_workspace

NAMES = (
    "it's", 'a "quote"', "back\\slash", "\\", "'", "') OR 1 = 1 --", "tab\there", "new\nline", "nul\0byte",
    "Ünïcode ÿ 文書 🦜", "percent%20", "{statuses:Array(String)}", "-- documents", " ", "d" * 500,
)  # fmt: skip
SECOND = 1_000_000


@pytest.fixture(scope="module")
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    """A document for each name as pipeline and as id, one of three failed, one running, one well."""
    with new_workspace(stack) as settings, connect(settings) as clickhouse:
        Tables(clickhouse).write(
            event(status, number * SECOND, execution=number, pipeline=name, doc_id=f"{name}{status}")
            for number, (name, status) in enumerate(
                ((name, status) for name in NAMES for status in (S.FAILED, S.RUNNING, S.SUCCESS)), start=1
            )
        )
        yield clickhouse


@pytest.mark.parametrize("most", [5_000, 4, 1])
@pytest.mark.parametrize("status", [S.FAILED, S.RUNNING])
def test_whatever_their_names_and_in_however_many_statements(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch, status: S, most: int
) -> None:
    """Each once, and no other."""
    monkeypatch.setattr("steptrail.projections.reading.naming._MOST", most)
    page = documents_by_time(clickhouse, None, statuses=[status])
    assert [(each.pipeline, each.doc_id) for each in page.items] == [
        (name, f"{name}{status}") for name in reversed(NAMES)
    ]


def test_the_longest_names_go_in_several_statements(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that each is shorter than what ClickHouse parses of one."""
    monkeypatch.setattr("steptrail.projections.reading.naming._MOST_BYTES", 700)
    assert len(documents_by_time(clickhouse, None, statuses=[S.FAILED]).items) == len(NAMES)
