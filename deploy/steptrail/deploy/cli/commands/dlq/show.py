"""`steptrail dlq show`: one message that is no event, taken apart."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.cli.commands.dlq.options import parse_place
from steptrail.deploy.terminal.failures import NO, USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, settings_for
from steptrail.deploy.terminal.output import Column, Table, note, plain, say, show, write_bytes, write_json
from steptrail.deploy.terminal.times import show_age, show_time

if TYPE_CHECKING:
    from steptrail.consumers.dlq.explain import Explanation
    from steptrail.consumers.dlq.letter import Letter
    from steptrail.projections.stores.dead_letter_store import StoredLetter


def show_letter(
    place: Annotated[
        str,
        typer.Argument(metavar="PARTITION:OFFSET", help="The place of the message in the steps topic."),
    ],
    full: Annotated[
        bool, typer.Option("--full", help="Dump every byte, not only those around the fault.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the value's bytes as they are, and nothing else.")
    ] = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Show a dead letter: why it is one, its fields up to the fault, and its bytes with the one that failed marked.

    The message is decoded anew, by this version and, where one is configured, by the schema registry: a letter
    may be an event by now, and can be redriven then. With --json one object, the value in hexadecimal.

    \b
    steptrail dlq show 3:1734
    steptrail dlq show 3:1734 --raw > message.bin
    """
    from steptrail.consumers.dlq.explain import explain
    from steptrail.consumers.dlq.letter import read_letter
    from steptrail.consumers.dlq.service import DeadLetterService
    from steptrail.projections.stores.dead_letter_store import STATES, Selection

    if raw and sys.stdout.isatty():
        raise CommandError(
            "--raw writes bytes that a terminal may obey.",
            exit_code=USAGE,
            kind="usage",
            hint="send them to a file or a pipe, or leave --raw out.",
        )
    wanted = parse_place(place)
    with DeadLetterService(settings_for(directory)) as service:
        found = service.store.letters(
            Selection(places=(wanted,), states=STATES), limit=100, newest_first=True
        )
        if not found:
            raise CommandError(
                f"no dead letter is known of {place}.",
                kind="unknown_letter",
                hint="`steptrail dlq list --state all` lists them; one that was set aside just now takes a second.",
            )
        stored = found[0]
        message = service.message(stored)
        if message is None:
            raise CommandError(
                f"the letter of {place} is not in the dead-letter topic any more: {stored.reason}, "
                f"{stored.explanation}",
                exit_code=NO,
                kind="letter_gone",
                hint="the topic keeps letters for STEPTRAIL_DLQ_RETENTION_MS.",
            )
        letter = read_letter(message, service.schemas)
        explained = explain(letter.value, service.schemas)
    if raw:
        write_bytes(letter.value or b"")
    elif json:
        write_json(_as_json(stored, letter, explained))
    else:
        _show(stored, letter, explained, full=full)
        if len(found) > 1:
            note(f"{len(found)} topics of this name had a letter at {place}; this is the newest.")


def _as_json(stored: StoredLetter, letter: Letter, explained: Explanation) -> dict[str, Any]:
    from steptrail.consumers.dlq.explain import shown

    fault = explained.fault
    return {
        **stored.as_dict(),
        "headers": [[name, None if value is None else _text(value)] for name, value in letter.headers],
        "key": None if letter.key is None else _text(letter.key),
        "value": None if letter.value is None else letter.value.hex(),
        "decodes_now": fault is None,
        "guessed_schema": explained.guessed,
        "fields": [
            {"name": field.name, "value": shown(field), "start": field.start, "end": field.end}
            for field in explained.fields
        ],
        "fault": None
        if fault is None
        else {
            "reason": str(fault.reason),
            "message": fault.message,
            "position": fault.position,
            "field": fault.field,
        },
    }


def _show(stored: StoredLetter, letter: Letter, explained: Explanation, *, full: bool) -> None:
    from steptrail.consumers.dlq.explain import hex_rows, hex_text

    facts = Table(
        [Column(""), Column("", wrap="words", min_width=12)],
        title=f"Dead letter {stored.shown_place}",
        header=False,
    )
    for name, value in _facts(stored, letter):
        facts.add(name, value)
    show(facts, first=True)
    columns = [Column("bytes", right=True), Column("field"), Column("value", wrap="words", lines=3)]
    fields = Table(columns, title="What can be read")
    for row in _field_rows(explained):
        fields.add(*row)
    show(fields)
    fault = explained.fault
    say("")
    if fault is None:
        say(
            f"It is an event by now: `steptrail dlq redrive {stored.shown_place} --yes` sends it again.",
            style="green",
        )
    elif explained.guessed:
        say(str(fault), style="red")
    position = stored.position if fault is None else fault.position
    if letter.value:
        rows = list(hex_rows(letter.value, position, around=None if full else 6))
        for line in hex_text(rows).split("\n"):
            say(line, folded=False)


def _facts(stored: StoredLetter, letter: Letter) -> list[tuple[str, str]]:
    facts = [
        ("reason", stored.reason),
        ("told", stored.explanation),
        ("topic", stored.topic),
        ("appended", show_time(stored.source_time, precise=True)),
        ("set aside", f"{show_time(stored.broker_time, precise=True)}, {show_age(stored.broker_time)}"),
        ("by", stored.consumer),
        ("key", "" if letter.key is None else _text(letter.key)),
        ("size", counted(stored.value_bytes, "byte")),
        ("state", stored.state.lower()),
    ]
    if stored.times_resent:
        facts.append(("sent again", f"{counted(stored.times_resent, 'time')} before"))
    if stored.decided_at is not None:
        facts.append(
            ("decided", f"{show_time(stored.decided_at)} by {stored.decided_by} {stored.note}".rstrip())
        )
    facts += [(f"header {name}", "" if value is None else _text(value)) for name, value in letter.own_headers]
    return facts


def _field_rows(explained: Explanation) -> list[tuple[str, str, str]]:
    from steptrail.consumers.dlq.explain import shown

    rows = []
    frame = explained.frame
    if frame is not None:
        name = f"schema {frame.schema_id}" if frame.fingerprint is None else frame.fingerprint.hex()
        guessed = ", unknown: what follows is a guess" if explained.guessed else ""
        rows.append((f"0-{frame.length - 1}", "(frame)", f"{frame.kind} {name}{guessed}"))
    rows += [
        (f"{field.start}-{field.end - 1}", field.name, plain(shown(field))) for field in explained.fields
    ]
    fault = explained.fault
    if fault is not None and not explained.guessed:
        at = "" if fault.position is None else str(fault.position)
        rows.append((at, fault.field or "", f"<- {fault.reason}: {fault.message}"))
    return rows


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
