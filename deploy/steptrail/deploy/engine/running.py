"""Which statements run: no query id twice at a time, and no more statements at once than the limit."""

from __future__ import annotations

from steptrail.deploy.engine.errors import EngineError


class Running:
    """The statements under way. Used from the event loop's thread only."""

    def __init__(self, limit: int, readers: int = 8) -> None:
        self._limit = limit
        self._readers = readers
        self._ids: set[str] = set()
        self._reading: set[str] = set()

    def enter(self, query_id: str, *, reads_only: bool = False) -> None:
        """Note a request; raises EngineError 216 where its query id still runs, 202 where readers have too many."""
        if query_id in self._ids:
            raise EngineError(216, f"Query with id = {query_id} is already running.")
        if reads_only:
            if len(self._reading) >= self._readers:
                raise EngineError(
                    202, f"Too many simultaneous queries of the user reader. Maximum: {self._readers}"
                )
            self._reading.add(query_id)
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
        self._reading.discard(query_id)

    def ids(self) -> list[str]:
        """Return the ids under way."""
        return list(self._ids)
