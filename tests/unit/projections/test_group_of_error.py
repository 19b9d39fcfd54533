"""The ids of error groups that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from steptrail.projections.reading import group_of_error
from steptrail.projections.reading.group_of_error import group_and_documents


class Store:
    """Gives each error that it is asked about another id."""

    max_name_bytes = 1024

    def __init__(self) -> None:
        self.computed = 0

    def rows(
        self,
        _sql: str,
        parameters: Mapping[str, Any] | None = None,
        _settings: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """An id, or how many documents a group has."""
        if "group_id" in (parameters or {}):
            return [{"documents": 1}]
        self.computed += 1
        return [{"group_id": str(self.computed)}]


def test_an_id_is_computed_once_and_is_no_other_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of hostile events may hold whatever stands between texts."""
    monkeypatch.setattr(group_of_error, "_kept", {})
    store = Store()
    errors = [
        ("p", "a\0b", "c", "d"),
        ("p", "a", "b\0c", "d"),
        ("p", "a", "b", "c\0d"),
        ("p\0a", "b", "c", "d"),
    ]
    ids = [group_and_documents(store, *error) for error in errors]
    assert len(set(ids)) == len(errors)
    assert [group_and_documents(store, *error) for error in errors] == ids
    assert store.computed == len(errors)
