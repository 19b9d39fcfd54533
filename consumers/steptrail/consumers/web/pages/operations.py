"""Operations: is the pipeline of events itself well: lag, stuck work, losses, clocks, dead letters, alerts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi.responses import HTMLResponse

from steptrail.consumers.web.answering import principal_of
from steptrail.consumers.web.models.actions import Redrive
from steptrail.consumers.web.models.operations import (
    AlertsAnswer,
    DeadLettersAnswer,
    EmittersAnswer,
    LagAnswer,
    LossesAnswer,
    SilencesAnswer,
)
from steptrail.consumers.web.models.work import InProgressAnswer
from steptrail.consumers.web.pages.clock import span
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.panel import Panel, Way
from steptrail.consumers.web.pages.rendering import render
from steptrail.consumers.web.service import operations as service
from steptrail.consumers.web.service.actions import redrive
from steptrail.consumers.web.service.work import in_progress_answer
from steptrail.projections.reading.in_progress import OPEN
from steptrail.projections.stores.dead_letter_store import Selection
from steptrail.schemas.figures import counted

LIMIT = 50
_SEVERITIES = {"critical": "CRITICAL", "warning": "WARNING", "info": "UNKNOWN"}

Cell = dict[str, Any]


def cell(text: object, *, href: str = "", status: str = "") -> Cell:
    """What a table of this page shows in one place."""
    return {"text": "" if text is None else str(text), "href": href, "status": status, "expire": ""}


async def operations(page: Page) -> HTMLResponse:
    """`/operations`."""
    desk, pipeline, chosen = page.desk, page.pipeline, page.range.between
    letters = service.letter_store(desk.clickhouse, desk.settings)
    selection = Selection(pipelines=() if pipeline is None else (pipeline,))
    policy = service.policy_of(desk.settings)
    panels = await page.ask(
        lag=(("lag",), lambda: service.lag_answer(desk.settings)),
        stuck=(
            ("stuck", pipeline),
            lambda: in_progress_answer(desk.store, pipeline, None, OPEN, True, None, LIMIT),
        ),
        losses=(
            ("losses", *page.scope),
            lambda: service.losses_answer(desk.store, letters, pipeline, chosen, False, LIMIT),
        ),
        emitters=(
            ("emitters", *page.scope),
            lambda: service.emitters_answer(desk.store, pipeline, chosen, LIMIT, False),
        ),
        letters=(("letters", pipeline), lambda: service.letters_answer(letters, selection, None, LIMIT)),
        alerts=(
            ("alerts", pipeline),
            lambda: service.alerts_answer(desk.board.current(), policy, pipeline, False, None),
        ),
        silences=(("silences",), lambda: service.silences_answer(desk.board.current(), False, page.mine)),
    )
    return page.answer(
        "operations.html",
        "Operations",
        panels=[
            _panel(
                "alerts",
                "Alerts",
                panels["alerts"],
                page,
                Way("/alerts", _pipeline(page), ("alerts", "list")),
                _alerts,
                nothing="Nothing fires.",
            ),
            _panel(
                "silences",
                "Silences",
                panels["silences"],
                page,
                Way("/silences", {}, ("alerts", "silences")),
                _silences,
                nothing="Nothing is silenced.",
                form="silence",
            ),
            _panel(
                "stuck",
                "Stuck, or never picked up",
                panels["stuck"],
                page,
                Way(
                    "/in-progress",
                    {**_pipeline(page), "only_stalled": "true"},
                    ("in-progress", "--stalled", *page.options(time=False)),
                    "in_progress",
                ),
                _stuck,
                nothing="Nothing is known to be stuck.",
            ),
            _panel(
                "lag",
                "Projection",
                panels["lag"],
                page,
                Way("/lag", {}, ("lag",)),
                _lag,
                nothing="The topic has no partitions.",
            ),
            _panel(
                "workers",
                "Workers that lost events",
                panels["losses"],
                page,
                Way(
                    "/losses",
                    page.parameters(),
                    ("losses", *page.options(until=None)),
                    "losses_by_worker",
                ),
                _losses,
                nothing="No worker lost an event in this time.",
            ),
            _panel(
                "emitters",
                "Emitters",
                panels["emitters"],
                page,
                Way("/emitters", page.parameters(), ("emitters", *page.options(until=None))),
                _emitters,
                nothing="No emitter was heard of in this time.",
            ),
            _panel(
                "letters",
                "Dead letters: messages that are no events",
                panels["letters"],
                page,
                Way("/dead-letters", _pipeline(page), ("dlq", "list", *page.options(time=False))),
                _letters,
                nothing="There are none.",
                form="redrive",
            ),
        ],
    )


async def redrive_plan(page: Page) -> HTMLResponse:
    """`/operations/redrive-plan`: what a redrive of the open dead letters would send and what not; nothing is sent."""
    body = Redrive(pipelines=[page.pipeline] if page.pipeline else [])
    who = principal_of(page.request)
    panel = await page.question(
        ("redrive plan", page.pipeline, who.name), lambda: redrive(page.desk.settings, body, who)
    )
    return HTMLResponse(
        render("redrive_plan.html", plan=panel.found, panel=panel, body=body.model_dump_json())
    )


def _panel(
    name: str,
    title: str,
    panel: Panel,
    page: Page,
    way: Way,
    table: Callable[[Page, Any], tuple[str, Sequence[tuple[str, bool]], list[dict[str, Any]]]],
    *,
    nothing: str,
    form: str = "",
) -> dict[str, Any]:
    summary, columns, rows = ("", [], []) if panel.failed else table(page, panel.found)
    return {
        "id": name,
        "title": title,
        "summary": summary,
        "columns": [{"name": column, "is_number": is_number} for column, is_number in columns],
        "rows": rows,
        "problem": panel.problem,
        "remedy": panel.remedy,
        "nothing": nothing,
        "form": form,
        "ways": page.ways(way),
    }


Table = tuple[str, Sequence[tuple[str, bool]], list[dict[str, Any]]]


def _alerts(page: Page, found: AlertsAnswer) -> Table:
    columns = [
        ("severity", False),
        ("what", False),
        ("where", False),
        ("since", False),
        ("who was told", False),
        ("held back", False),
    ]
    rows = []
    for each in found.items:
        told = ", ".join(f"{of.target}{'' if of.sure else ' (perhaps)'}" for of in each.told)
        waiting = f"waits: {', '.join(each.waiting)}" if each.waiting else ""
        where = f"{each.pipeline} / {each.step_name}" if each.step_name else each.pipeline or "everything"
        held = each.held
        until = f" until {page.clock.text(held.until)}" if held and held.until else ""
        rows.append(
            {
                "key": each.id,
                "cells": [
                    cell(each.severity, status=_SEVERITIES.get(each.severity, "WARNING")),
                    cell(each.sentence),
                    cell(where, href=page.step_href(each.pipeline, each.step_name) if each.step_name else ""),
                    cell(f"{page.clock.text(each.since)} ({page.clock.ago(each.since).striptags()})"),
                    cell("; ".join(filter(None, (told, waiting))) or "nobody yet"),
                    cell(f"by {'a silence' if held.silence else held.by}{until}" if held else ""),
                ],
            }
        )
    return counted(len(rows), "alert fires", "alerts fire"), columns, rows


def _silences(page: Page, found: SilencesAnswer) -> Table:
    columns = [
        ("pipeline", False),
        ("step", False),
        ("kind", False),
        ("until", False),
        ("because", False),
        ("by", False),
        ("", False),
    ]
    rows = [
        {
            "key": each.id,
            "cells": [
                cell(each.pipeline),
                cell(each.step_name),
                cell(each.kind),
                cell(page.clock.text(each.ends_at)),
                cell(each.reason),
                cell(each.by),
                {**cell("end it now"), "expire": f"/api/v1/silences/{each.id}/expire"},
            ],
        }
        for each in found.items
    ]
    return "", columns, rows


def _stuck(page: Page, found: InProgressAnswer) -> Table:
    columns = [("document", False), ("where", False), ("state", False), ("since", False), ("evidence", False)]
    rows = [
        {
            "key": each.execution_id,
            "cells": [
                cell(each.doc_id, href=page.doc_href(each.pipeline, each.doc_id)),
                cell(
                    f"{each.pipeline} / {each.step_name}", href=page.step_href(each.pipeline, each.step_name)
                ),
                cell("never picked up" if each.status == "PENDING" else "stuck", status="STALLED"),
                cell(f"{page.clock.text(each.open_since)} ({page.clock.ago(each.open_since).striptags()})"),
                cell(each.sentence),
            ],
        }
        for each in found.items
    ]
    return ("the first " + str(len(rows)) if found.next else ""), columns, rows


def _lag(page: Page, found: LagAnswer) -> Table:
    columns = [
        ("partition", True),
        ("events waiting", True),
        ("oldest waits", True),
        ("projected up to", True),
        ("read by", False),
    ]
    rows = [
        {
            "key": str(each.partition),
            "cells": [
                cell(each.partition),
                cell("not known" if each.lag_events is None else f"{each.lag_events:,}"),
                cell("" if not each.lag_seconds else span(each.lag_seconds)),
                cell("" if each.projected is None else f"{each.projected:,}"),
                cell(each.member or ("nobody" if each.lag_events else "")),
            ],
        }
        for each in found.partitions
    ]
    known = [each.lag_events for each in found.partitions if each.lag_events is not None]
    waiting = (
        counted(sum(known), "event")
        if len(known) == len(found.partitions)
        else "not known how many events are"
    )
    parts = [f"{found.topic}: {waiting} waiting", *found.problems]
    if found.waiting_for:
        parts.append(f"the projector waits for {found.waiting_for}")
    return "; ".join(parts), columns, rows


def _losses(page: Page, found: LossesAnswer) -> Table:
    columns = [
        ("worker", False),
        ("pipeline", False),
        ("accepted", True),
        ("arrived", True),
        ("missing", True),
        ("dropped", True),
        ("failed", True),
        ("why", False),
        ("last heard", False),
    ]
    rows = [
        {
            "key": f"{each.worker}\x1f{each.pipeline}",
            "cells": [
                cell(each.worker),
                cell(each.pipeline),
                cell(f"{each.accepted:,}"),
                cell(f"{each.arrived:,}"),
                cell(f"{each.missing:,}"),
                cell(f"{each.dropped:,}"),
                cell(f"{each.failed:,}"),
                cell(
                    ", ".join(f"{why} {count:,}" for why, count in each.reasons.items())
                    or ("ended without a report, or runs" if each.not_closed else "")
                ),
                cell(page.clock.ago(each.last_heard_at).striptags()),
            ],
        }
        for each in found.items
    ]
    return f"{found.missing:,} missing, {found.dropped:,} dropped, {found.failed:,} failed", columns, rows


def _emitters(page: Page, found: EmittersAnswer) -> Table:
    columns = [
        ("worker", False),
        ("pipeline", False),
        ("state", False),
        ("accepted", True),
        ("arrived", True),
        ("missing", True),
        ("clock", False),
        ("last heard", False),
    ]
    rows = []
    for each in found.items:
        clock = ""
        if each.clock_off and each.clock_offset_ms is not None:
            side = "behind" if each.clock_offset_ms > 0 else "ahead"
            clock = f"{abs(each.clock_offset_ms) / 1000:.1f} s {side}"
        rows.append(
            {
                "key": each.emitter_id,
                "cells": [
                    cell(each.worker),
                    cell(each.pipeline),
                    cell(each.state),
                    cell(f"{each.accepted:,}"),
                    cell(f"{each.arrived:,}"),
                    cell(f"{each.missing:,}" if each.missing else ""),
                    cell(clock, status="WARNING") if clock else cell(""),
                    cell(page.clock.ago(each.last_heard_at).striptags()),
                ],
            }
        )
    return (
        counted(len(rows), "emitter") + (", those heard of last" if len(rows) == LIMIT else ""),
        columns,
        rows,
    )


def _letters(page: Page, found: DeadLettersAnswer) -> Table:
    columns = [
        ("place", False),
        ("reason", False),
        ("explanation", False),
        ("document", False),
        ("bytes", True),
        ("sent again", True),
        ("since", False),
    ]
    rows = [
        {
            "key": f"{each.topic}:{each.place}",
            "cells": [
                cell(each.place),
                cell(each.reason),
                cell(each.explanation),
                cell(" / ".join(filter(None, (each.pipeline, each.doc_id, each.step_name)))),
                cell(f"{each.value_bytes:,}"),
                cell(each.times_resent or ""),
                cell(page.clock.ago(each.broker_time).striptags()),
            ],
        }
        for each in found.items
    ]
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.by_reason.items())
    return (f"{counted(found.letters, 'open letter')}: {reasons}" if found.letters else ""), columns, rows


def _pipeline(page: Page) -> dict[str, str]:
    return {"pipeline": page.pipeline} if page.pipeline else {}
