"""A warning about names that exist nowhere, for commands that write down a name or a glob for later."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steptrail.deploy.terminal.options import settings_for
from steptrail.deploy.terminal.output import tell
from steptrail.deploy.terminal.visible import distinct

if TYPE_CHECKING:
    from steptrail.projections.reading.known_names import UnknownName

_TIMEOUT_S = 5.0


def unmatched(scopes: Iterable[tuple[str, str]], directory: Path | None = None) -> list[UnknownName]:
    """The names of (pipeline, step) that match nothing in ClickHouse; none where it cannot be asked.

    A name may be right before its first event, so nothing is refused for it.
    """
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.clickhouse.errors import QueryError
    from steptrail.projections.reading.known_names import unmatched_names
    from steptrail.schemas.errors import ConfigurationError, InfrastructureError

    try:
        with connect(settings_for(directory), timeout=_TIMEOUT_S) as clickhouse:
            return unmatched_names(clickhouse, scopes)
    except (ConfigurationError, InfrastructureError, QueryError):
        return []


def warn(found: Iterable[UnknownName]) -> None:
    """One line each on standard error, with the names that may be meant."""
    for each in found:
        near = f"; did you mean {' or '.join(map(distinct, each.near))}?" if each.near else "."
        tell("note:", "bold yellow", f"no event of a {each.kind} {each.name!r} is known yet{near}")


def as_json(found: Iterable[UnknownName]) -> list[dict[str, Any]]:
    """For a command's JSON: kind, name, near."""
    return [{"kind": each.kind, "name": each.name, "near": each.near} for each in found]
