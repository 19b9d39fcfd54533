"""The store as people ask it: by the login for reading, and so that a statement can be cancelled."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steptrail.deploy.cli.reader_login import login_for_reading
from steptrail.deploy.cli.sql.refusals import OF_THE_QUERY, refused
from steptrail.deploy.terminal.interruptible import interruptible
from steptrail.deploy.terminal.options import settings_for

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import Answer, ClickHouse


class Store:
    """Asks one statement after another; connects at first use, and anew after a fault or a cancellation.

    Raises CommandError (exit 4) for a statement that the store refuses, StoreUnavailable and StoreRefused where it
    is not the statement's fault. KeyboardInterrupt passes through, after the statement was stopped on the server.
    """

    def __init__(self, directory: Path | None, *, write: bool) -> None:
        self._directory = directory
        self.write = write
        self._clickhouse: ClickHouse | None = None
        self._kept: dict[str, Any] = {}

    def another(self) -> Store:
        """One of the same login, with connections of its own."""
        return Store(self._directory, write=self.write)

    @property
    def name(self) -> str:
        """Where it asks, and as whom: `127.0.0.1:8123/steptrail as reader`."""
        target = self._connected().target
        return f"{target.host}:{target.port}/{target.database} as {target.username}"

    @property
    def user(self) -> str:
        """As whom it asks."""
        return self._connected().target.username

    def ask(
        self,
        statement: str,
        *,
        limit: int = 0,
        parameters: Mapping[str, Any] | None = None,
        whole: bool = False,
    ) -> Answer:
        """The answer, one row more than `limit` when there are more; 0 for all of them.

        `whole`: begin to answer when the statement has ended, so that what was read is counted to the end.
        """
        # `break` ends the answer at the first block that passes the bound, so a careless SELECT * stays cheap.
        bounds = {"max_result_rows": limit + 1, "result_overflow_mode": "break"} if limit else {}
        waits = {"wait_end_of_query": 1} if whole else {}
        with self._asking(statement) as (clickhouse, settings):
            return clickhouse.answer(statement, parameters, {**bounds, **waits, **settings})

    def raw(self, statement: str, form: str | None = None) -> Iterator[bytes]:
        """The answer in one of ClickHouse's own formats: that in the statement, or `form`."""
        text = statement if form is None else f"{statement}\nFORMAT {form}"
        with self._asking(statement) as (clickhouse, settings):
            yield from clickhouse.stream(text, settings=settings)

    def close(self) -> None:
        """Close the connections; the next statement opens new ones, to wherever the settings then lead."""
        clickhouse, self._clickhouse = self._clickhouse, None
        if clickhouse is not None:
            clickhouse.close()

    @contextlib.contextmanager
    def _asking(self, statement: str) -> Iterator[tuple[ClickHouse, dict[str, Any]]]:
        from steptrail.projections.clickhouse.errors import QueryError, StoreRefused, StoreUnavailable

        clickhouse, query_id = self._connected(), uuid.uuid4().hex
        try:
            with interruptible():
                yield clickhouse, {**self._kept, "query_id": query_id}
        except (QueryError, StoreRefused) as error:
            if isinstance(error, StoreRefused) and error.code not in OF_THE_QUERY:
                raise
            raise refused(error, statement) from error
        except StoreUnavailable:
            self.close()
            raise
        except (KeyboardInterrupt, GeneratorExit):
            self._cancel(query_id)
            raise

    def _cancel(self, query_id: str) -> None:
        """Stop a statement whose answer nobody waits for any more.

        The engine server stops one whose connection is closed, and the interrupted read has closed it. A ClickHouse
        server goes on, and is asked to stop by another connection; a user may do that to statements of its own.
        """
        from steptrail.schemas.errors import SteptrailError

        self.close()
        with contextlib.suppress(SteptrailError):
            self._connected().command(
                "KILL QUERY WHERE query_id = {id:String} ASYNC", {"id": query_id}, settings=self._kept
            )

    def _connected(self) -> ClickHouse:
        if self._clickhouse is None:
            from steptrail.projections.clickhouse.client import ClickHouse

            settings = settings_for(self._directory)
            target, self._kept = (
                (settings.clickhouse_target(), {}) if self.write else login_for_reading(settings)
            )
            self._clickhouse = ClickHouse(target)
        return self._clickhouse
