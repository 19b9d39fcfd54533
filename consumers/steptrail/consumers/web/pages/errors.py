"""Error groups: what goes wrong, how often, since when; and what people decided about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from fastapi.responses import HTMLResponse

from steptrail.consumers.web.models.operations import Group, GroupAnswer, GroupsAnswer, TrendPoint
from steptrail.consumers.web.pages.drawing.sparkline import bars
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.panel import Way
from steptrail.consumers.web.service.operations import group_answer, groups_answer
from steptrail.projections.stores.error_groups import GroupState
from steptrail.schemas.figures import counted

LIMIT = 100
_LEVELS = {
    "NEW": "ERROR",
    "REGRESSED": "FAILED",
    "ONGOING": "WARNING",
    "RESOLVED": "SUCCESS",
    "MUTED": "SKIPPED",
}
_ACTIONS = {"RESOLVED": ("reopen", "mute"), "MUTED": ("reopen", "resolve")}
_HOURS_SHOWN = 48


async def errors(page: Page) -> HTMLResponse:
    """`/errors`."""
    state = page.request.query_params.get("state", "").upper()
    step = page.request.query_params.get("step") or None
    states = [each for each in GroupState if each.value == state] or list(GroupState)
    state = state if len(states) == 1 else ""
    store, span = page.desk.store, page.range.between
    panels = await page.ask(
        groups=(
            ("groups", *page.scope, state, step),
            lambda: groups_answer(store, page.pipeline, step, states, span, LIMIT),
        )
    )
    panel = panels["groups"]
    found: GroupsAnswer | None = panel.found
    parameters = {
        **page.links.kept,
        **({"state": state} if state else {}),
        **({"step_name": step} if step else {}),
    }
    judged = found.judged_until if found else None
    return page.answer(
        "errors.html",
        "Errors",
        groups={
            "rows": [_row(page, each) for each in (found.items if found else ())],
            "choices": [
                {
                    "name": name.lower(),
                    "is_current": (name if name != "ALL" else "") == state,
                    "href": page.links.here(state=None if name == "ALL" else name),
                }
                for name in ("ALL", *(each.value for each in GroupState))
            ],
            "problem": panel.problem,
            "remedy": panel.remedy,
            "summary": f"counted up to {page.clock.text(judged)}"
            if judged
            else "nobody counts: is the health consumer running?",
            "nothing": f", as far as was counted (up to {page.clock.text(judged)})."
            if judged
            else ": nobody counts.",
            "more": f"{counted(found.other_groups, 'other group')} with {counted(found.other_errors, 'error')}"
            if found and found.other_groups
            else "",
            "export": page.api("/export/error-groups", **parameters, format="csv"),
            "ways": page.ways(
                Way(
                    "/error-groups",
                    page.parameters(until=None, state=state, step_name=step),
                    ("groups", *page.options(until=None, state=state, step=step)),
                    "error_groups",
                )
            ),
        },
    )


async def group(page: Page, group_id: str) -> HTMLResponse:
    """`/errors/{group_id}`."""
    store, span = page.desk.store, page.range.between
    panels = await page.ask(
        group=(("group", group_id, *page.scope), lambda: group_answer(store, group_id, span, page.mine))
    )
    panel = panels["group"]
    if panel.failed:
        lines = [panel.problem, *([panel.remedy] if panel.remedy else [])]
        return page.answer(
            "gone.html", "This error group is not here", status=panel.status, lines=lines, near=[]
        )
    found: GroupAnswer = panel.found
    of = found.group
    return page.answer(
        "group.html",
        of.template[:80] or of.error_type,
        group={
            **_row(page, of),
            "group_id": of.group_id,
            "pipeline": of.pipeline,
            "step_name": of.step_name,
            "step_href": page.step_href(of.pipeline, of.step_name),
            "total": f"{of.count:,}",
            "can_act": True,
            "actions": _ACTIONS.get(of.state, ("resolve", "mute")),
            "examples": [
                {
                    "key": each.event_id,
                    "href": f"{page.doc_href(of.pipeline, each.doc_id)}#event-{each.event_id}",
                    "doc_id": each.doc_id,
                    "timestamp": each.at,
                    "error_message": each.message,
                }
                for each in found.examples
            ],
            "history": [
                {"at": each.acted_at, "action": each.action, "by": each.acted_by, "note": each.reason}
                for each in found.actions
            ],
            "ways": page.ways(Way(f"/error-groups/{of.group_id}", {}, ("groups", "show", of.group_id))),
        },
    )


def _row(page: Page, of: Group) -> dict[str, Any]:
    return {
        "key": of.group_id,
        "href": page.links.to(f"/errors/{of.group_id}"),
        "template": of.template or "(no message)",
        "error_type": of.error_type,
        "pipeline": of.pipeline,
        "step_name": of.step_name,
        "state": of.state,
        "level": _LEVELS.get(of.state, "UNKNOWN"),
        "trend": _trend(page, of.trend),
        "errors": f"{of.lately:,}",
        "documents": f"{of.documents:,}",
        "last_seen": of.last_seen,
        "first_seen": of.first_seen,
    }


def _trend(page: Page, trend: Sequence[TrendPoint]) -> Any:
    """Errors by hour up to now, the last two days of the page's time at most."""
    until = page.range.between.until
    first = max(page.range.between.since, until - timedelta(hours=_HOURS_SHOWN)).replace(
        minute=0, second=0, microsecond=0
    )
    by_hour = {point.begins: point.count for point in trend}
    hours = int((until - first).total_seconds() // 3600) + 1
    values = [float(by_hour.get(first + timedelta(hours=hour), 0)) for hour in range(hours)]
    return bars(
        values, f"{counted(int(sum(values)), 'error')} in {counted(hours, 'hour')}", "error", inline=True
    )
