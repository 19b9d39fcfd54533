"""The engine server with users who have only what `steptrail grants` gives them: `python granted_engine.py …`.

The engine in process has one user and no SQL for users, so the roles are written into its configuration, with the
very GRANT statements that the command prints. A request as user `projector` gets a handle that has taken the role
`steptrail_projector` and nothing else. As strict as a server: engines and system tables need grants of their own.
What is not tried here: that ClickHouse takes the statements CREATE ROLE, USER, ROW POLICY and SETTINGS PROFILE.

Options are the engine's. In the environment REFUSALS names a file that gets a line for each refused right, and LIMITED
may hold row conditions by table, as a JSON object, for everybody: the engine in process has no policies of roles.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from steptrail.deploy.engine import access, app, auth, handles, http_query, reader, serve
from steptrail.deploy.engine.__main__ import main
from steptrail.deploy.engine.errors import EngineError
from steptrail.projections.access.parts import parts
from steptrail.projections.access.statements import Granting, Statement

PREFIX = "steptrail"
_GRANT = re.compile(r"(GRANT .+) TO \w+")
_write_config = access.write_config


def _roles(database: str) -> dict[str, list[str]]:
    """The privileges of each role, as the configuration has them: the statements without their end."""
    granting = Granting(database, PREFIX)
    statements: list[Statement] = [each for part in parts() for each in granting.part(part)]
    statements += granting.analyst()
    statements += granting.analyst("limited", ["invoices"])
    found: dict[str, list[str]] = {}
    for each in statements:
        if (grant := _GRANT.fullmatch(each.sql)) is not None and " ON " in grant[1]:
            found.setdefault(each.role, []).append(grant[1])
    return found


def write_config(path: Path, **options: Any) -> Path:
    """The engine's configuration with the roles in it."""
    config = _write_config(path, **options)
    users = path / "engine-users.xml"
    roles = _roles(options["database"])
    texts = [
        f"<{role}><grants>{''.join(f'<query>{escape(grant)}</query>' for grant in grants)}</grants></{role}>"
        for role, grants in roles.items()
    ]
    text = users.read_text().replace("</roles>", "".join(texts) + "</roles>")
    owned = "".join(f"<query>GRANT {role}</query>" for role in roles)
    text = text.replace("<users><default>", "<users><default>" + _policies(options["database"]))
    text = text.replace("<grants><query>GRANT", f"<grants>{owned}<query>GRANT", 1)
    users.write_text(text)
    strict = "<select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>"
    config.write_text(
        config.read_text().replace(
            "</access_control_improvements>", f"{strict}</access_control_improvements>"
        )
    )
    return config


def _policies(database: str) -> str:
    conditions = json.loads(os.environ.get("LIMITED", "{}"))
    if not conditions:
        return ""
    tables = "".join(
        f"<{table}><filter>{escape(condition)}</filter></{table}>" for table, condition in conditions.items()
    )
    return f"<databases><{database}>{tables}</{database}></databases>"


class _As:
    """The engine as a role: its handles have that one alone."""

    def __init__(self, engine: handles.Engine, role: str) -> None:
        self._engine, self._role = engine, role

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open(self) -> handles.Handle:
        handle = self._engine.open()
        handle.query(f"SET ROLE {self._role}".encode(), "Null")
        return handle


class _Authenticator(auth.Authenticator):
    """Lets in every part under its name, with the server's password."""

    def __init__(self, password: str, reader_password: str | None = None) -> None:
        super().__init__(password, reader_password)
        names = [part.name for part in parts()]
        self._passwords.update(dict.fromkeys([*names, "analyst", "analyst_limited"], password.encode()))


class _Exchange(http_query.Exchange):
    def __init__(self, server: Any, answer: Any, method: Any, headers: Any, receive: Any, user: str) -> None:
        if user not in (auth.USER, reader.NAME):
            server = replace(server, engine=_As(server.engine, f"{PREFIX}_{user}"))
        fail = answer.fail

        async def noted(error: EngineError) -> None:
            if error.code == 497:
                with Path(os.environ["REFUSALS"]).open("a") as file:
                    file.write(f"{user}: {error}\n")
            await fail(error)

        answer.fail = noted
        super().__init__(server, answer, method, headers, receive, user)


if __name__ == "__main__":
    # In the places where each is used.
    vars(handles)["write_config"] = write_config
    vars(serve)["Authenticator"] = _Authenticator
    vars(app)["Exchange"] = _Exchange
    sys.exit(main())
