"""Which statements run: no query id twice at a time, and no more statements at once than the limit."""

from __future__ import annotations

from steptrail.deploy.engine.errors import EngineError


class Running:
    """The statements under way. Used from the event loop's thread only."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: set[str] = set()

    def enter(self, query_id: str) -> None:
        """Note a request; raises EngineError 216 where its query id still runs."""
        if query_id in self._ids:
            raise EngineError(216, f"Query with id = {query_id} is already running.")
        self._ids.add(query_id)

    def admit(self) -> None:
        """Raise EngineError 202 where the requests noted are too many."""
        if len(self._ids) > self._limit:
            raise EngineError(
                202,
                f"Too many simultaneous queries. Maximum: {self._limit} (--max-queries of the engine server)",
            )

    def leave(self, query_id: str) -> None:
        """Forget a statement; once is enough, twice does no harm."""
        self._ids.discard(query_id)

    def ids(self) -> list[str]:
        """Return the ids under way."""
        return list(self._ids)
