"""One request for a page: what its address says, the questions that it asks, and the answer as HTML."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse

from steptrail.consumers.health.check import HealthCheck
from steptrail.consumers.web.answering import key_of, principal_of, wants_newest
from steptrail.consumers.web.desk import Desk
from steptrail.consumers.web.pages.clock import Clock, zone_of
from steptrail.consumers.web.pages.frame import Links, frame, shown_freshness
from steptrail.consumers.web.pages.panel import Panel, Way, ask_one, option
from steptrail.consumers.web.pages.rendering import compressed, render
from steptrail.consumers.web.pages.timerange import TimeRange, read_range

_FAVICONS = {"HEALTHY": "healthy", "WARNING": "warning", "CRITICAL": "critical"}
_FRAME_PARAMETERS = frozenset({"pipeline", "since", "until", "after", "q"})

Question = tuple[Hashable, Callable[[], Any]]


class Page:
    """What a page's function works with. Raises BadRange for a time in the address that cannot be read."""

    def __init__(self, request: Request, desk: Desk, current: str, *, has_range: bool = True) -> None:
        self.request = request
        self.desk = desk
        self.current = current
        query = request.query_params
        self.clock = Clock(zone_of(request.cookies.get("steptrail_zone")), datetime.now(timezone.utc))
        self.pipeline = query.get("pipeline") or None
        self.range: TimeRange = read_range(query.get("since"), query.get("until"), self.clock.now)
        self.has_range = has_range
        self.after = query.get("after") or None
        extra = [(key, value) for key, value in query.multi_items() if key not in _FRAME_PARAMETERS]
        if query.get("q"):
            extra.append(("q", query["q"]))
        self.links = Links(request.url.path, self.pipeline, self.range, extra)
        self.health: HealthCheck | None = None
        self.asked: dict[str, Panel] = {}

    @property
    def scope(self) -> tuple[str | None, str, str]:
        """What makes questions of this page equal to those of another one: a time until now moves, and is the same."""
        return self.pipeline, self.range.since_text, self.range.until_text

    def step_href(self, pipeline: str, step_name: str) -> str:
        """The page of one step."""
        return self.links.to("/steps/one", pipeline=pipeline, step=step_name)

    def doc_href(self, pipeline: str, doc_id: str) -> str:
        """The page of one document."""
        return self.links.to("/document", pipeline=pipeline, doc=doc_id)

    @property
    def base(self) -> str:
        """Where this server was reached."""
        return str(self.request.base_url).rstrip("/")

    async def ask(self, **questions: Question) -> dict[str, Panel]:
        """The answers to this page's questions, asked side by side with what every page asks."""
        named: dict[str, Question] = {"pipelines": (("pipelines",), self._pipelines), **questions}
        check = asyncio.create_task(asyncio.to_thread(self._check))
        panels = await asyncio.gather(*(self.question(*question) for question in named.values()))
        self.health = await check
        self.asked = dict(zip(named, panels, strict=True))
        return self.asked

    async def question(self, key: Hashable, question: Callable[[], Any]) -> Panel:
        """The answer to one more question, when those of `ask` have been answered."""
        whole = ("page", key_of(self.request, key))
        return await ask_one(self.desk, whole, question, newest=wants_newest(self.request))

    def api(self, path: str, **parameters: Any) -> str:
        """The address of an answer of the API."""
        chosen = {name: str(value) for name, value in parameters.items() if value not in (None, "")}
        return f"/api/v1{path}?{urlencode(chosen)}" if chosen else f"/api/v1{path}"

    @property
    def mine(self) -> tuple[str, ...] | None:
        """The pipelines that whoever asks may see; None: all."""
        return principal_of(self.request).pipelines

    def _pipelines(self) -> list[str]:
        known, mine = self.desk.pipelines(), self.mine
        return known if mine is None else [each for each in known if each in mine]

    def _check(self) -> HealthCheck:
        return self.desk.check(self.pipeline)

    def parameters(self, *, time: bool = True, **more: str | None) -> dict[str, str]:
        """What the API takes for this page's pipeline and time, whatever its own defaults are; None is left out."""
        found = {"pipeline": self.pipeline, **(self.range.explicit if time else {}), **more}
        return {name: text for name, text in found.items() if text}

    def options(self, *, time: bool = True, **more: str | None) -> list[str]:
        """The same as options of a command."""
        return [
            word for name, text in self.parameters(time=time, **more).items() for word in option(name, text)
        ]

    def ways(self, way: Way) -> list[tuple[str, str]]:
        """How to ask a panel's question elsewhere, ready to be copied."""
        return way.written(self.base)

    def answer(
        self, template: str, title: str, *, status: int = 200, query: str | None = None, **values: Any
    ) -> HTMLResponse:
        """The page as HTML."""
        pipelines = self.asked["pipelines"].found if "pipelines" in self.asked else None
        verdict = self.health.status.value if self.health is not None else "UNKNOWN"
        values["frame"] = frame(
            current=self.current,
            clock=self.clock,
            links=self.links,
            pipeline=self.pipeline,
            pipelines=pipelines or (),
            chosen=self.range if self.has_range else None,
            freshness=shown_freshness((panel.freshness for panel in self.asked.values()), self.clock),
            verdict=_FAVICONS.get(verdict, "unknown"),
            theme=self.request.cookies.get("steptrail_theme"),
            live=self.request.query_params.get("live") != "0" and not self.range.until_text,
            query=query,
        )
        when, ago = self.clock.when, self.clock.ago
        html = render(template, title=title, link=self.links.to, when=when, ago=ago, **values)
        answer = HTMLResponse(html, status, {"Cache-Control": "no-store"})
        compressed(self.request, answer)
        return answer


def refusal(
    page_title: str, lines: list[str], status: int, request: Request, desk: Desk, **values: Any
) -> HTMLResponse:
    """A page that says what is wrong with its own address, or with what it was to show."""
    # The address cannot be trusted to be readable: only the frame's plain parts are drawn from it.
    clean = Request({**request.scope, "query_string": b""})
    page = Page(clean, desk, "", has_range=False)
    near: Mapping[str, str] = values.pop("near", {})
    return page.answer("gone.html", page_title, status=status, lines=lines, near=list(near.items()), **values)
