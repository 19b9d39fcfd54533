"""The one way to ClickHouse: HTTP through clickhouse-connect, with errors sorted by what to do about them.

The library is imported by the first connection, since it takes a third of what a consumer's start takes: a projector
loads it in the writer's thread, while the group lets it in.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steptrail.projections.clickhouse.connection_faults import in_few_words
from steptrail.projections.clickhouse.errors import QueryError, StoreRefused, StoreUnavailable
from steptrail.schemas.configuration.clickhouse_settings import SHARDED
from steptrail.schemas.configuration.settings import ClickHouseTarget, Settings
from steptrail.schemas.stored_names import MAX_NAME_BYTES

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.exceptions import Error

# It logs what it raises, and Python prints a log record that no one takes.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

# Server errors that say "not now" rather than "not like this": https://github.com/ClickHouse/ClickHouse
# src/Common/ErrorCodes.cpp. Whoever gets one waits and tries the same again.
NOT_NOW: Mapping[int, str] = {
    74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    76: "CANNOT_OPEN_FILE",
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    164: "READONLY",
    173: "CANNOT_ALLOCATE_MEMORY",
    192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    216: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    289: "REPLICA_IS_NOT_IN_QUORUM",
    319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED",
    425: "SYSTEM_ERROR",
    439: "CANNOT_SCHEDULE_TASK",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
    529: "NOT_A_LEADER",
    745: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
}

# Every write is acknowledged when it is stored, and the engine's own deduplication stays out of the way, of
# statements and of rows: the ledger decides what is new, and what it let through can be counted.
WRITE_SETTINGS: Mapping[str, Any] = {"async_insert": 0, "insert_deduplicate": 0, "optimize_on_insert": 0}

# The query condition cache of ClickHouse 26.9 remembers granules as empty under too short a condition: after
# `… WHERE a AND b` over a join, `… WHERE a` left out rows that are there. Nothing here may miss rows, least of
# all the ledger's guard.
CAREFUL_SETTINGS: Mapping[str, Any] = {"use_query_condition_cache": 0}

# Reading over shards: subqueries see all shards, and a shard that is away is an error. Rows lie by Kafka partition, so
# nothing may be concluded from a sharding key.
OVER_SHARDS_SETTINGS: Mapping[str, Any] = {
    "distributed_product_mode": "global",
    "skip_unavailable_shards": 0,
    "optimize_skip_unused_shards": 0,
    "optimize_distributed_group_by_sharding_key": 0,
    "fallback_to_stale_replicas_for_distributed_queries": 0,
    "enable_parallel_replicas": 0,
}

# From ClickHouse 26.2 on `insert_deduplicate` is ignored for these two, which are on: a block like an earlier one would
# be dropped in silence where a table keeps a window of them. Servers before do not know them.
NEWER_WRITE_SETTINGS: Mapping[str, Any] = dict.fromkeys(
    ("deduplicate_insert", "deduplicate_insert_select"), "disable"
)


_PIECE = 1 << 18


@dataclass(frozen=True)
class Answer:
    """Column names and rows of an answer, and how many rows the server read for it."""

    names: list[str]
    rows: list[tuple[Any, ...]]
    read_rows: int = 0


class ClickHouse:
    """A ClickHouse database over HTTP; connects at first use, is safe to share between threads.

    No statement is ever sent twice by this class: after a cut connection the client library repeats
    `insert()`, so only `command()` is used to write (it sends once), every statement carries a query id of
    its own (a proxy's repeat is refused with error 216 while the first runs), and there are no sessions (after
    a time-out the session would stay locked).

    Raises `StoreUnavailable`, `StoreRefused` (both: wait and try again) and `QueryError` (the request is
    wrong) and nothing else.
    """

    def __init__(
        self,
        target: ClickHouseTarget,
        *,
        timeout: float = 300.0,
        max_name_bytes: int = MAX_NAME_BYTES,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.target = target
        self._settings = {
            **CAREFUL_SETTINGS,
            **(settings or {}),
        }  # of every statement, where the server knows them
        self.max_name_bytes = max_name_bytes  # where emitters cut the names that are looked for
        self._timeout = timeout
        self._lock = threading.Lock()
        self._client: Client | None = None

    @property
    def database(self) -> str:
        """The database that unqualified table names mean."""
        return self.target.database

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return f"{self.target.host}:{self.target.port}"

    def table(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run a reading statement; `{name:Type}` in it is bound by the server. Column names, and all rows."""
        answer = self.answer(sql, parameters, settings)
        return answer.names, answer.rows

    def answer(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Like `table`, with how much the server read; exact only with the setting `wait_end_of_query`."""
        with self._errors():
            result = self._connected().query(sql, parameters=_dict(parameters), settings=_dict(settings))
            return Answer(
                list(result.column_names),
                [tuple(row) for row in result.result_rows],
                int(result.summary.get("read_rows") or 0),
            )

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Like `table`, the rows alone."""
        return self.table(sql, parameters, settings)[1]

    def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Like `table`, each row a dict by column name."""
        names, found = self.table(sql, parameters, settings)
        return [dict(zip(names, row, strict=True)) for row in found]

    def stream(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Iterator[bytes]:
        """Run a reading statement that ends in FORMAT: its output, as it comes."""
        with self._errors():
            client = self._connected()
            source: Any = client.raw_stream(sql, parameters=_dict(parameters), settings=_dict(settings))
        try:
            while True:
                with self._errors():
                    piece = source.read(_PIECE)
                if not piece:
                    return
                yield piece
        finally:
            source.close()

    def command(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        data: bytes | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a statement that writes or changes; `data` is the body of an `INSERT … FORMAT …`. Sent once."""
        body = None if data is None else _Body(data)
        with self._errors():
            client = self._connected()
            newer = {
                name: value for name, value in NEWER_WRITE_SETTINGS.items() if name in client.server_settings
            }
            merged = {**WRITE_SETTINGS, **newer, **(settings or {})}
            client.command(sql, parameters=_dict(parameters), data=body, settings=merged)

    def ping(self) -> None:
        """Raise `StoreUnavailable` or `StoreRefused` unless the store answers a query as this user."""
        self.query("SELECT 1")

    def create_database(self) -> None:
        """Create the target's database where it is absent."""
        name = self.target.database.replace("`", "``")
        with self._errors():
            client = self._open(database="default")
            try:
                client.command(f"CREATE DATABASE IF NOT EXISTS `{name}`")
            finally:
                client.close()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> ClickHouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = self._open(self.target.database)
            return self._client

    def _open(self, database: str) -> Client:
        import clickhouse_connect

        target = self.target
        client = clickhouse_connect.get_client(
            host=target.host,
            port=target.port,
            username=target.username,
            password=target.password,
            database=database,
            secure=target.secure,
            verify=target.verify,
            ca_cert=target.ca,
            connect_timeout=10,
            send_receive_timeout=self._timeout,
            query_retries=0,
            autogenerate_session_id=False,
            autogenerate_query_id=True,
            dedicated_pool=True,
            compress=False,  # the store is near; compressing costs more than it saves
            tz_mode="aware",
            show_clickhouse_errors=True,
        )
        for name, value in self._settings.items():
            known = client.server_settings.get(name)
            if known is not None and not known.readonly:
                client.set_client_setting(name, value)
        return client

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            from clickhouse_connect.driver.exceptions import ClickHouseError, Error
            from urllib3.exceptions import HTTPError

            if isinstance(error, Error):
                raise self._sorted(error) from error
            if isinstance(error, (ClickHouseError, HTTPError, OSError)):
                raise StoreUnavailable(self._message(error)) from error
            raise

    def _sorted(self, error: Error) -> StoreUnavailable | StoreRefused | QueryError:
        code, name = error.code, error.name
        message = self._message(error)
        if code is None:
            from clickhouse_connect.driver.exceptions import OperationalError

            if isinstance(error, OperationalError):
                return StoreUnavailable(message)
            return QueryError(message, code=None, name=None)
        if code in NOT_NOW:
            return StoreRefused(message, code=code, name=name or NOT_NOW[code])
        return QueryError(message, code=code, name=name)

    def _message(self, error: BaseException) -> str:
        at = f"ClickHouse at {self.target.host}:{self.target.port}"
        reason = (
            in_few_words(error) if getattr(error, "code", None) is None else None
        )  # else the store said it
        text = f"{at}: {str(error).strip()}" if reason is None else f"{at} cannot be reached: {reason}"
        return text.replace(self.target.password, "***") if self.target.password else text


class _Body(bytes):
    """Rows on their way to an INSERT, never read as SQL.

    clickhouse-connect decodes a body to see whether the request is a read that may be sent twice: 130 ms for the
    11 MB of a batch, five times what sending it takes. The statement before it says INSERT, which settles that.
    """

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return ""


def connect(settings: Settings, *, timeout: float = 300.0) -> ClickHouse:
    """The ClickHouse that `settings.clickhouse` names; nothing is sent before the first statement."""
    return ClickHouse(
        settings.clickhouse_target(),
        timeout=timeout,
        max_name_bytes=settings.max_name_bytes,
        settings=OVER_SHARDS_SETTINGS if settings.clickhouse_layout in SHARDED else None,
    )


def int_list(values: Sequence[int]) -> str:
    """Integers as SQL list content; for generated numbers only, never for text."""
    return ", ".join(str(int(value)) for value in values)


def _dict(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else dict(values)
