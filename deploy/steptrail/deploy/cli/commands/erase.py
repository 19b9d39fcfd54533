"""`steptrail erase`: remove documents from everything that is stored, for good."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.terminal.failures import NO, USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import (
    Json,
    StackDir,
    note_dry_run,
    require_one_store,
    settings_for,
    spelled_out,
)
from steptrail.deploy.terminal.output import Column, Table, note, say, show, write_json, write_json_lines
from steptrail.deploy.terminal.times import show_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from steptrail.consumers.kafka.topic_retention import TopicRetention
    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.lifecycle.erasure import Document
    from steptrail.projections.lifecycle.erasures import Erasure
    from steptrail.schemas.configuration.settings import Settings

_SHOWN = 20


def erase(
    pipeline: Annotated[
        str | None,
        typer.Argument(help="The documents' pipeline.", show_default=False, callback=spelled_out),
    ] = None,
    documents: Annotated[
        list[str] | None, typer.Argument(metavar="DOC...", help="The documents.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Read documents from a file, - for input.", show_default=False
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", "-r", help="Why, for the record; name no document in it.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Erase; without it nothing is changed.")] = False,
    absent: Annotated[
        bool, typer.Option("--absent", help="Erase also documents of which nothing is stored.")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", "-l", help="Show what was erased; change nothing.")
    ] = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Erase documents: their events, dead letters, observations, and what error groups and metrics show of them.

    Without --yes it counts what would be removed. With it, no query shows the documents any more after some seconds,
    and the rows are then removed from the files. A tombstone stays, a keyed hash that names no document: neither a
    replay of the topic nor events that are still on their way bring a document back. What happens to a document of
    the same name after its erasure is stored as anything else.

    A file has one document a line, or a JSON object with doc_id and, if it differs, pipeline. It says what cannot be
    erased (Kafka's topics, notifications that were sent) and until when that is there. An erasure that was cut off is
    finished by the next one.

    With --json one object: dry_run, documents, unknown, rows (by table), until, request, state, topics (topic,
    gone_at, compacted). Exits 1 when nothing is stored of a document, unless --absent says so.

    \b
    steptrail erase invoices invoice-17
    steptrail erase invoices invoice-17 --reason "request 4711" --yes
    steptrail erase invoices --from documents.txt --yes
    steptrail erase --list
    """
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.clickhouse.migrate import require_current

    settings = settings_for(directory)
    require_one_store(settings)
    if list_:
        if pipeline is not None or file is not None or yes:
            raise _usage("--list only shows: it takes no documents and no --yes.")
        with connect(settings) as clickhouse:
            require_current(clickhouse)
            _list(clickhouse, as_json=json)
        return
    wanted = _wanted(pipeline, documents or [], file)
    topics = _topics(settings, needed=yes)
    with connect(settings) as clickhouse:
        require_current(clickhouse)
        _erase(settings, clickhouse, wanted, topics, reason=reason, yes=yes, absent=absent, as_json=json)


def _erase(
    settings: Settings,
    clickhouse: ClickHouse,
    wanted: Sequence[Document],
    topics: Sequence[TopicRetention],
    *,
    reason: str,
    yes: bool,
    absent: bool,
    as_json: bool,
) -> None:
    from steptrail.consumers.kafka.topic_retention import latest_stamp_us
    from steptrail.deploy.cli.commands.dlq.options import author
    from steptrail.projections.clickhouse.queries import stored
    from steptrail.projections.lifecycle.erasure import begin, finish, remove, rows_of, selected
    from steptrail.projections.lifecycle.erasures import unfinished

    with selected(clickhouse, wanted) as selection:
        found = rows_of(clickhouse, selection)
        unknown = [
            each for each in wanted if (stored(each[0], clickhouse), stored(each[1], clickhouse)) not in found
        ]
        if unknown and not absent:
            raise _unknown(clickhouse, unknown, len(wanted))
        rows = Counter[str]()
        for counts in found.values():
            rows.update(counts)
        erasure = None
        if yes:
            for left in unfinished(clickhouse):
                note(f"Finishing erasure {left.request}, which was cut off.")
                remove(clickhouse, finish(clickhouse, left))
            erasure = begin(
                clickhouse,
                selection,
                rows,
                requested_by=author().decided_by,
                reason=reason,
                not_before_us=latest_stamp_us(settings),
            )
            erasure = finish(clickhouse, erasure, selection)
            note("No query shows them any more; removing the rows from the files.")
            erasure = remove(clickhouse, erasure)
    if not yes:
        note_dry_run()
    if as_json:
        write_json(_as_json(wanted, unknown, rows, erasure, topics))
    else:
        _show(found, unknown, rows, erasure, topics)


def _wanted(pipeline: str | None, documents: Sequence[str], file: Path | None) -> list[Document]:
    """The documents that the command line and the file name, each once."""
    if pipeline is None:
        raise _usage("name a pipeline and documents of it, or --list.")
    named = [(pipeline, str(spelled_out(each))) for each in documents]
    if file is not None:
        from steptrail.deploy.terminal.documents_file import read_documents

        named += read_documents(file, pipeline)
    for of, doc_id in named:
        if not of.strip() or not doc_id:
            raise _usage("a pipeline or a document has no name.")
    if not named:
        raise _usage(f"name documents of pipeline {pipeline!r}, or a file with --from.")
    return list(dict.fromkeys(named))


def _topics(settings: Settings, *, needed: bool) -> list[TopicRetention]:
    from steptrail.consumers.kafka.topic_retention import topic_retentions
    from steptrail.schemas.errors import InfrastructureError

    try:
        return topic_retentions(settings)
    except InfrastructureError as error:
        if needed:
            raise CommandError(
                f"{str(error).rstrip('.')}. Nothing was erased.",
                exit_code=3,
                kind="unreachable",
                hint="Kafka says up to when events exist that are to be kept out; try again when it answers.",
            ) from None
        note(f"How long Kafka keeps the events is not known: {error}")
        return []


def _unknown(clickhouse: ClickHouse, unknown: Sequence[Document], asked: int) -> CommandError:
    from steptrail.projections.reading.known_names import unknown_name

    pipelines = dict.fromkeys(pipeline for pipeline, _ in unknown)
    for pipeline in pipelines:
        if (no_pipeline := unknown_name(clickhouse, pipeline)) is not None:
            return CommandError(
                f"no event of a pipeline {pipeline!r} is stored. Nothing was erased.",
                kind="unknown_pipeline",
                near=no_pipeline.near,
                hint="--absent erases its documents all the same: events that are still on their way are kept out.",
            )
    some = ", ".join(repr(doc_id) for _, doc_id in unknown[:5]) + (", …" if len(unknown) > 5 else "")
    return CommandError(
        f"nothing is stored of {len(unknown)} of {counted(asked, 'document')}: {some}. Nothing was erased.",
        exit_code=NO,
        kind="unknown_document",
        hint="is it spelled right? --absent erases it all the same: events that are still on their way are kept out.",
    )


def _as_json(
    wanted: Sequence[Document],
    unknown: Sequence[Document],
    rows: Mapping[str, int],
    erasure: Erasure | None,
    topics: Sequence[TopicRetention],
) -> dict[str, Any]:
    moment = None if erasure is None else _time(erasure.erased_to_us)
    return {
        "dry_run": erasure is None,
        "documents": len(wanted),
        "unknown": len(unknown),
        "rows": dict(rows),
        "until": moment,
        "request": None if erasure is None else str(erasure.request),
        "state": None if erasure is None else erasure.state.value,
        "topics": [
            {"topic": each.topic, "gone_at": _gone_by(each, moment), "compacted": each.compacted}
            for each in topics
        ],
    }


def _show(
    found: Mapping[Document, Mapping[str, int]],
    unknown: Sequence[Document],
    rows: Mapping[str, int],
    erasure: Erasure | None,
    topics: Sequence[TopicRetention],
) -> None:
    table = Table(
        [Column("pipeline"), Column("document", 3), Column("rows", right=True), Column("tables", 2)]
    )
    for (pipeline, doc_id), counts in list(found.items())[:_SHOWN]:
        places = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        table.add(pipeline, doc_id, f"{sum(counts.values()):,}", places)
    if found:
        show(table, first=True)
    if len(found) > _SHOWN:
        note(f"{counted(len(found) - _SHOWN, 'more document')}.")
    if unknown:
        say(f"Nothing is stored of {counted(len(unknown), 'document')}.")
    total = f"{counted(sum(rows.values()), 'row')} of {counted(len(found) + len(unknown), 'document')}"
    if erasure is None:
        say(f"{total} would be erased.")
    else:
        say(f"Erased {total} (request {erasure.request}).", style="green")
        say(
            "ClickHouse keeps the replaced files for some minutes more (old_parts_lifetime, 8 minutes by default); "
            "notifications that were sent, and backups, are out of reach."
        )
    moment = None if erasure is None else _time(erasure.erased_to_us)
    for each in topics:
        _show_topic(each, _gone_by(each, moment))


def _show_topic(topic: TopicRetention, gone_by: datetime | None) -> None:
    if topic.compacted:
        say(
            f"{topic.topic} is compacted: alerts leave out what was erased within minutes, while an alerting consumer "
            "runs; older records go at the next compaction."
        )
    elif gone_by is None:
        say(
            f"{topic.topic} keeps its records for ever: only deleting them there removes them.",
            style="yellow",
        )
    else:
        say(f"{topic.topic} has its records until {show_time(gone_by)} UTC at the latest.")


def _gone_by(topic: TopicRetention, moment: datetime | None) -> datetime | None:
    """When a record that is on the topic now, or was at `moment`, is gone at the latest; None: never by itself."""
    if topic.gone_after_ms is None:
        return None
    try:
        return (moment or datetime.now(timezone.utc)) + timedelta(milliseconds=topic.gone_after_ms)
    except OverflowError:
        return None


def _time(us: int) -> datetime:
    from steptrail.schemas.event import datetime_from_us

    return datetime_from_us(us)


def _list(clickhouse: ClickHouse, *, as_json: bool) -> None:
    from steptrail.projections.lifecycle.erasures import erasures

    found = erasures(clickhouse)
    if as_json:
        write_json_lines(
            [
                {
                    **{
                        name: value
                        for name, value in asdict(each).items()
                        if name not in ("minutes", "erased_to_us")
                    },
                    "until": _time(each.erased_to_us),
                }
                for each in found
            ]
        )
        return
    if not found:
        note("Nothing was ever erased.")
        return
    table = Table(
        [
            Column("erased up to (UTC)", 2),
            Column("pipelines"),
            Column("documents", right=True),
            Column("rows", right=True),
            Column("state"),
            Column("by"),
            Column("reason", 3, wrap="words"),
        ]
    )
    for each in found:
        table.add(
            show_time(_time(each.erased_to_us)),
            ", ".join(each.pipelines),
            f"{each.documents:,}",
            f"{sum(each.rows.values()):,}",
            each.state.value,
            each.requested_by,
            each.reason,
        )
    show(table, first=True)


def _usage(message: str) -> CommandError:
    return CommandError(message, exit_code=USAGE, kind="usage", hint="steptrail erase --help shows how.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(erase)
