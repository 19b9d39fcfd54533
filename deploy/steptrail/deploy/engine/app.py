"""The ASGI application: the paths, who may come in, and the answer when anything fails."""

from __future__ import annotations

import logging
from typing import Any

from steptrail.deploy.engine.answer import Answer, BrokenAnswer, Send
from steptrail.deploy.engine.auth import Authenticator, check_origin
from steptrail.deploy.engine.body import Receive
from steptrail.deploy.engine.errors import EngineError
from steptrail.deploy.engine.http_query import Exchange, Server
from steptrail.deploy.engine.protocol import MAX_ADDRESS
from steptrail.deploy.engine.request import parse_query_string

_log = logging.getLogger("steptrail.engine")
_ALIVE = ("/ping", "/replicas_status")


class App:
    """ClickHouse's HTTP interface for one engine."""

    def __init__(self, server: Server, authenticator: Authenticator) -> None:
        self._server = server
        self._authenticator = authenticator

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        method = scope["method"]
        answer = Answer(send, head_only=method == "HEAD", version=self._server.engine.version)
        try:
            await self._route(method, scope, receive, answer)
        except BrokenAnswer:
            raise
        except EngineError as error:
            await answer.fail(error)
        except Exception as error:
            _log.exception("a request failed inside the engine server")
            if answer.started:
                raise BrokenAnswer from error
            await answer.fail(EngineError(1001, f"The engine server failed: {type(error).__name__}"))

    async def _route(self, method: str, scope: Any, receive: Receive, answer: Answer) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        # Until the password has been shown a refusal closes the connection: nobody's body is waited for.
        answer.closes = method == "POST"
        check_origin(headers)
        path = scope["path"]
        if path in _ALIVE:
            await answer.whole(b"Ok.\n", None, None, None)
            return
        if path != "/" and path != "/query":
            raise EngineError(
                36, f"There is no handle {path}: use / for queries, /ping for health checks", status=404
            )
        if method not in ("GET", "HEAD", "POST"):
            raise EngineError(36, f"The method {method} is not used here: GET or POST", status=405)
        if len(scope["query_string"]) >= MAX_ADDRESS:
            raise EngineError(
                309, f"The address is longer than {MAX_ADDRESS} bytes: use the body", status=414
            )
        pairs = parse_query_string(scope["query_string"])
        parameters = dict(pairs)
        if method != "POST" and not parameters.get("query"):
            await answer.whole(b"Ok.\n", None, None, None)
            return
        user = self._authenticator.check(headers, parameters)
        answer.closes = False
        if "admit" in scope.get("state", {}):
            scope["state"]["admit"]()
        await Exchange(self._server, answer, method, headers, receive, user).run(pairs)
