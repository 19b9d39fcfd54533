"""The life of one query over HTTP: take it in, run it in a worker thread, send the answer, let go of it.

The session and the query id are free before the last byte is sent, so that a client's next request finds them so.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from steptrail.deploy.engine.answer import Answer
from steptrail.deploy.engine.auth import USER
from steptrail.deploy.engine.blocks import BlockEncoder
from steptrail.deploy.engine.body import Body, Receive
from steptrail.deploy.engine.encoding import Chain, Encoder, choose, encoder
from steptrail.deploy.engine.errors import EngineError
from steptrail.deploy.engine.execution import Execution
from steptrail.deploy.engine.handles import Engine
from steptrail.deploy.engine.multipart import boundary_of, parse_form
from steptrail.deploy.engine.reader import NAME as READER
from steptrail.deploy.engine.request import Request, read_request
from steptrail.deploy.engine.running import Running
from steptrail.deploy.engine.sessions import Session, Sessions
from steptrail.deploy.engine.statement import Kind, Statement, parse
from steptrail.deploy.engine.upload import Upload

T = TypeVar("T")
_HEAD = 64 * 1024  # where an INSERT's FORMAT is looked for before its data is taken as a stream
_SQL_LIMIT = 64 << 20
_FIRST = 1 << 20  # up to here an answer is held back, so that it can still become a plain error
_FIRST_SECONDS = 0.5
_SPILL = 64 << 20
_PIECE = 1 << 18
_KILLED_WITH_CLIENT = (Kind.SELECT, Kind.REPORT, Kind.INSERT, Kind.WRITE)


@dataclass(frozen=True)
class Server:
    """What every exchange shares."""

    engine: Engine
    sessions: Sessions
    running: Running
    workers: Executor
    aside: Executor  # for KILL, which must get through when every worker waits
    max_body: int
    scratch: Path


class Exchange:
    """One query request and its answer."""

    def __init__(
        self,
        server: Server,
        answer: Answer,
        method: str,
        headers: Mapping[str, str],
        receive: Receive,
        user: str,
    ) -> None:
        self._server = server
        self._answer = answer
        self._method = method
        self._reads_only = user == READER
        self._headers = headers
        self._receive = receive
        self._body = Body(receive, headers, server.max_body)
        self._session: Session | None = None
        self._request: Request | None = None
        self._execution: Execution | None = None
        self._gone = False
        self._holds_id = False

    async def run(self, pairs: list[tuple[str, str]]) -> None:
        """Serve the request; every fault ends up in the answer, or breaks it off."""
        try:
            request = await self._read(pairs)
            self._answer.query_id = request.query_id
            if request.decompress_blocks:
                self._body.decode_blocks(checked=request.checked_blocks)
            self._answer.timezone = request.settings.get("session_timezone") or self._server.engine.timezone
            self._server.running.enter(request.query_id, reads_only=self._reads_only)
            self._holds_id = True
            await self._serve(request)
        except EngineError as error:
            await self._release(failed=True)
            if self._answer.started:
                await self._answer.break_off(error)
            else:
                await self._answer.fail(error)
        finally:
            await asyncio.shield(self._release(failed=True))

    async def _read(self, pairs: list[tuple[str, str]]) -> Request:
        boundary = boundary_of(self._headers.get("content-type", ""))
        files: dict[str, bytes] = {}
        if boundary is not None and self._method == "POST":
            fields, files = parse_form(await self._body.read(self._server.max_body), boundary)
            pairs = pairs + fields
        self._request = read_request(self._method, pairs, self._headers, files)
        self._request.reads_only = self._reads_only
        return self._request

    async def _serve(self, request: Request) -> None:
        statement = await self._statement(request)
        if statement.kind is not Kind.KILL:
            self._server.running.admit()
        self._session = self._take_session(request)
        self._execution = Execution(
            self._server.engine, self._session, request, statement, self._server.scratch
        )
        if statement.data_start is not None:
            await self._insert(self._execution, request, statement, statement.data_start)
            return
        with self._watching(request, statement):
            await self._rows(self._execution, request, statement)

    async def _statement(self, request: Request) -> Statement:
        """The statement; for an INSERT with data it ends where the first of them do, and the body goes on."""
        sql = request.query
        if self._method != "POST":
            return parse(sql)
        if sql:
            sql = sql if sql.endswith(b"\n") else sql + b"\n"
            statement = parse(sql)
            if statement.data_start is not None:
                return statement
        sql += await self._body.gather(_HEAD)
        statement = parse(sql)
        if statement.data_start is not None:
            return statement
        rest = await self._body.read(_SQL_LIMIT)
        return parse(sql + rest) if rest else statement

    def _take_session(self, request: Request) -> Session | None:
        if request.session_id is None:
            return None
        return self._server.sessions.take(
            self._session_name(request),
            must_exist=request.session_check,
            timeout=request.session_timeout,
            reads_only=self._reads_only,
        )

    def _session_name(self, request: Request) -> str:
        # A session is its user's: a reader must not find another's handle.
        return f"{READER if self._reads_only else USER}/{request.session_id}"

    async def _insert(
        self, execution: Execution, request: Request, statement: Statement, data_start: int
    ) -> None:
        """Take in the rows of an INSERT, then run it."""
        with contextlib.closing(Upload(self._server.scratch)) as upload:
            data = statement.sql[data_start:]
            while data or not self._body.ended:
                if upload.on_disk:
                    await self._work(upload.add, data)
                else:
                    upload.add(data)
                data = await (self._body.gather(_PIECE) if upload.on_disk else self._body.next())
            with self._watching(request, statement):
                await self._work(execution.insert, upload)
                await self._release(failed=False)
                await self._answer.whole(b"", None, execution.stats, None)

    async def _rows(self, execution: Execution, request: Request, statement: Statement) -> None:
        encoding = choose(self._headers.get("accept-encoding", "")) if request.compress_response else None
        packing = self._encoder(request, encoding)
        rows: Iterator[bytes] = iter(())
        form = execution.output_format

        def first() -> tuple[list[bytes], bool, Any]:
            nonlocal rows
            if self._gone:
                raise EngineError(210, "The client closed the connection")
            execution.open()
            rows = execution.rows()
            if request.wait_end:
                return self._pull_all(rows)
            parts, ended = _pull(rows, _FIRST, _FIRST_SECONDS)
            return parts, ended, None

        worker = self._server.aside if statement.kind is Kind.KILL else self._server.workers
        parts, ended, file = await self._work(first, worker=worker)
        if ended and file is None:
            await self._release(failed=False)
            body = b"".join(parts)
            has_rows = bool(body) or statement.kind in (Kind.SELECT, Kind.REPORT)
            if packing is not None and body:
                body = await self._encoded(body, packing)
            else:
                encoding = None
            await self._answer.whole(body, form if has_rows else None, execution.stats, encoding)
            return
        if file is not None:
            await self._release(failed=False)
            rows = iter(lambda: file.read(_PIECE), b"")
        try:
            await self._answer.begin(form, execution.stats, encoding, packing)
            await self._stream(rows, parts)
        finally:
            if file is not None:
                file.close()
        await self._release(failed=False)
        await self._answer.end()

    async def _stream(self, rows: Iterator[bytes], parts: list[bytes]) -> None:
        """Send the rows: while one piece is on its way, the next is being made."""

        def more(parts: list[bytes]) -> tuple[bytes, bool]:
            ended = False
            if not parts:
                parts, ended = _pull(rows, _PIECE, _FIRST_SECONDS)
            return self._answer.encode(b"".join(parts)), ended

        coming = asyncio.ensure_future(self._work(more, parts))
        try:
            while True:
                encoded, ended = await coming
                if self._gone:
                    raise EngineError(210, "The client closed the connection")
                if not ended:
                    coming = asyncio.ensure_future(self._work(more, []))
                await self._answer.piece(encoded)
                if ended:
                    return
        finally:
            if not coming.done():
                with contextlib.suppress(EngineError):
                    await coming

    def _encoder(self, request: Request, encoding: str | None) -> Encoder | None:
        """What the rows go through on their way out."""
        outer = None if encoding is None else encoder(encoding)
        if not request.compress_blocks:
            return outer
        inner = BlockEncoder(request.settings.get("network_compression_method", "LZ4"))
        return inner if outer is None else Chain(inner, outer)

    async def _encoded(self, body: bytes, packing: Encoder) -> bytes:
        def encode() -> bytes:
            return packing.encode(body) + packing.finish()

        # A small body costs less than the way to a thread and back.
        return encode() if len(body) < 1 << 16 else await self._work(encode)

    def _pull_all(self, rows: Iterator[bytes]) -> tuple[list[bytes], bool, Any]:
        """Take every row; past a limit they go to an unnamed file instead of memory."""
        parts: list[bytes] = []
        size = 0
        for part in rows:
            parts.append(part)
            size += len(part)
            if size > _SPILL:
                break
        else:
            return parts, True, None
        file = tempfile.TemporaryFile(dir=self._server.scratch)  # noqa: SIM115 - closed when it is sent
        try:
            for part in parts:
                file.write(part)
            parts.clear()
            for part in rows:
                file.write(part)
            file.seek(0)
        except BaseException as error:
            file.close()
            if isinstance(error, OSError):
                raise EngineError(
                    243, f"The result cannot be kept until its end: {error.strerror}"
                ) from error
            raise
        return [], True, file

    async def _work(self, function: Callable[..., T], *args: Any, worker: Executor | None = None) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(worker or self._server.workers, function, *args)

    @contextlib.contextmanager
    def _watching(self, request: Request, statement: Statement) -> Iterator[None]:
        """Meanwhile notice that the client has gone, and stop its statement."""

        async def watch() -> None:
            # After the body the server says one more thing: that the connection has closed.
            while (await self._receive())["type"] != "http.disconnect":
                pass
            self._gone = True
            # More than once: it may be about to begin.
            while self._holds_id and statement.kind in _KILLED_WITH_CLIENT:
                await self._work(self._server.engine.kill, request.query_id, worker=self._server.aside)
                await asyncio.sleep(0.2)

        task = asyncio.ensure_future(watch())
        try:
            yield
        finally:
            task.cancel()

    async def _release(self, *, failed: bool) -> None:
        """Free the handle, the session and the query id; the first call counts."""
        execution, self._execution = self._execution, None
        session, self._session = self._session, None
        usable = True
        try:
            if execution is not None:
                if session is None and not failed:
                    usable = execution.close()  # a tenth of a millisecond
                else:
                    usable = await self._work(lambda: execution.close(failed=failed))
        finally:
            request = self._request
            if session is not None and request is not None and request.session_id is not None:
                self._server.sessions.give_back(self._session_name(request), session, broken=not usable)
            if self._holds_id and request is not None:
                self._holds_id = False
                self._server.running.leave(request.query_id)


def _pull(rows: Iterator[bytes], size: int, seconds: float) -> tuple[list[bytes], bool]:
    """Take rows until there are `size` bytes or the time is up; whether that was all."""
    parts: list[bytes] = []
    have = 0
    until = time.monotonic() + seconds
    for part in rows:
        parts.append(part)
        have += len(part)
        if have >= size or time.monotonic() > until:
            return parts, False
    return parts, True
