"""Which documents were erased, and which error groups are no more, for whoever keeps their names elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from steptrail.projections.clickhouse.queries import Store, ask_sql
from steptrail.projections.delivery.erased import document_hash

_LIMITS: Final = {"max_execution_time": 5}

_ERASED: Final = f"""
SELECT DISTINCT named.1 AS pipeline, named.2 AS doc_id
FROM (SELECT arrayJoin(arrayZip({{pipelines:Array(String)}}, {{documents:Array(String)}})) AS named)
WHERE {document_hash("named.1", "named.2")} IN (SELECT document FROM erased_documents)
"""

_GROUPS: Final = """
SELECT DISTINCT group_id
FROM error_group_hours
WHERE group_id IN {groups:Array(String)}
"""


def erased_documents(store: Store, documents: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Those of `documents` (pipeline, id) that were erased, also where later events made them known again."""
    named = sorted(documents)
    if not named:
        return frozenset()
    parameters = {"pipelines": [each[0] for each in named], "documents": [each[1] for each in named]}
    return frozenset((row["pipeline"], row["doc_id"]) for row in ask_sql(store, _ERASED, parameters, _LIMITS))


def groups_that_are_no_more(store: Store, groups: Collection[str]) -> frozenset[str]:
    """Those of `groups` (ids) of which no error is stored."""
    if not groups:
        return frozenset()
    rows = ask_sql(store, _GROUPS, {"groups": sorted(groups)}, _LIMITS)
    return frozenset(groups) - {str(row["group_id"]) for row in rows}
