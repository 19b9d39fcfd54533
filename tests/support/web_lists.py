"""Lists of the HTTP API, a page of one and all its pages."""

from __future__ import annotations

from typing import Any

from support.web import Api


def items(api: Api, path: str, **parameters: Any) -> list[dict[str, Any]]:
    reply = api.get(path, **parameters)
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json["items"]
    return found


def all_pages(api: Api, path: str, limit: int, **parameters: Any) -> list[dict[str, Any]]:
    """The items of all pages together; every page but the last says where to go on."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    for _ in range(1000):
        reply = api.get(path, **{**parameters, "limit": limit, **({} if after is None else {"after": after})})
        assert reply.status == 200, reply.body
        assert len(reply.json["items"]) <= limit
        found += reply.json["items"]
        after = reply.json["next"]
        if after is None:
            return found
    raise AssertionError("pages without end")
