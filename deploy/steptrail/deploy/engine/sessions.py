"""Sessions: a handle that is kept between requests, with its settings, database and temporary tables.

As in ClickHouse, what a request's address sets holds for that request, and what the statements SET and USE set
holds for the session.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from steptrail.deploy.engine.errors import EngineError
from steptrail.deploy.engine.handles import Engine, Handle, quote


class Session:
    """One session's handle and what the last request's address laid over it."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.busy = True
        self.fresh = True
        self.timeout = 60.0
        self.expires = float("inf")
        self._laid: dict[str, str] = {}
        self._under: dict[str, str | None] = {}
        self._database: str | None = None
        self._database_under = ""

    def lay(self, settings: Mapping[str, str], database: str | None) -> None:
        """Make these the settings and the database of the next statement; take back those of the last one."""
        stale = [name for name in self._laid if name not in settings]
        new = [name for name in settings if name not in self._laid]
        if new:
            names = ", ".join(map(quote, new))
            sql = f"SELECT name, changed, value FROM system.settings WHERE name IN ({names})"  # noqa: S608 - quoted
            rows = self.handle.query(sql.encode("utf-8", "surrogateescape"), "TSV")
            for line in rows.bytes().decode("utf-8", "surrogateescape").splitlines():
                name, changed, value = line.split("\t", 2)
                self._under[name] = value if changed == "1" else None
        for name in stale:
            value = self._under.pop(name, None)
            under = "DEFAULT" if value is None else f"'{value}'"  # TSV's escapes are the literal's
            self.handle.query(f"SET {name} = {under}".encode("utf-8", "surrogateescape"), "Null")
            del self._laid[name]
        changed_settings = {name: value for name, value in settings.items() if self._laid.get(name) != value}
        self.handle.set(changed_settings)
        self._laid.update(changed_settings)
        if self._database is not None and database != self._database:
            self.handle.use(self._database_under)
            self._database = None
        if database is not None and self._database is None:
            self._database_under = (
                self.handle.query(b"SELECT currentDatabase()", "RawBLOB")
                .bytes()
                .decode("utf-8", "surrogateescape")
            )
            self.handle.use(database)
            self._database = database

    def is_clean(self) -> bool:
        """Tell whether the handle answers as it should: after a failure, earlier output may be left in it."""
        try:
            return bool(self.handle.query(b"SELECT 'clean'", "TSV").bytes() == b"clean\n")
        except EngineError:
            return False


class Sessions:
    """The sessions by name. Used from the event loop's thread only, but for the handles themselves."""

    def __init__(self, engine: Engine, limit: int = 1000) -> None:
        self._engine = engine
        self._limit = limit
        self._sessions: dict[str, Session] = {}

    def take(self, name: str, *, must_exist: bool, timeout: float, reads_only: bool = False) -> Session:
        """Return the session for one statement; `give_back` must follow.

        Raises EngineError 372 when it must exist and does not, 373 while another statement uses it.
        """
        session = self._sessions.get(name)
        if session is None:
            if must_exist:
                raise EngineError(372, f"Session {name.partition('/')[2]} not found")
            self._make_room()
            session = self._sessions[name] = Session(
                self._engine.open_reader() if reads_only else self._engine.open()
            )
        elif session.busy:
            raise EngineError(373, f"Session {name.partition('/')[2]} is locked by a concurrent client")
        session.busy = True
        session.timeout = timeout
        return session

    def give_back(self, name: str, session: Session, *, broken: bool = False) -> None:
        """Free the session for its next statement; a broken one is closed and forgotten."""
        if broken or self._sessions.get(name) is not session:
            self._sessions.pop(name, None)
            session.handle.close()
            return
        session.busy = False
        session.expires = time.monotonic() + session.timeout

    def expire(self) -> None:
        """Close the sessions whose time is over."""
        now = time.monotonic()
        for name, session in list(self._sessions.items()):
            if not session.busy and session.expires <= now:
                del self._sessions[name]
                session.handle.close()

    def close(self) -> None:
        """Close every session."""
        for session in self._sessions.values():
            with contextlib.suppress(EngineError):
                session.handle.close()
        self._sessions.clear()

    def _make_room(self) -> None:
        self.expire()
        if len(self._sessions) < self._limit:
            return
        idle = [(session.expires, name) for name, session in self._sessions.items() if not session.busy]
        if not idle:
            raise EngineError(202, f"Too many sessions at work. Maximum: {self._limit}")
        name = min(idle)[1]
        self._sessions.pop(name).handle.close()
