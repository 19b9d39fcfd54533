"""What the `steptrail dlq` commands share: which letters are meant, and in whose name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.output import note
from steptrail.deploy.terminal.times import SINCE_HELP, parse_since

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steptrail.projections.stores.dead_letter_store import Author, Selection

Places = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PARTITION:OFFSET]...",
        help="Single letters, by the place of the message in the steps topic, such as 3:1734.",
        show_default=False,
    ),
]
Reasons = Annotated[
    list[str] | None,
    typer.Option(
        "--reason", "-r", help="Only letters with this reason; may be repeated.", show_default=False
    ),
]
Pipelines = Annotated[
    list[str] | None,
    typer.Option(
        "--pipeline",
        "-p",
        help="Only this pipeline; may be repeated.",
        show_default=False,
        autocompletion=completing.pipelines,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help=f"Only letters set aside since. {SINCE_HELP}", show_default=False
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Only letters set aside before.", show_default=False),
]
Partition = Annotated[
    int | None,
    typer.Option(
        "--partition", min=0, help="Only messages of this partition of the steps topic.", show_default=False
    ),
]
Offsets = Annotated[
    str | None,
    typer.Option(
        "--offset",
        metavar="N or A-B",
        help="Only this offset of the steps topic, or those from A to B (10-, -20: open ends).",
        show_default=False,
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option("--state", help="open, redriven, dropped or all; default: open.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="What it does without --yes, spelled out.")]


def is_dry_run(dry_run: bool, yes: bool) -> bool:
    """Whether nothing is to be changed: unless --yes. Raises CommandError (exit 2) for both."""
    if dry_run and yes:
        raise _usage("--dry-run and --yes exclude each other.")
    return not yes


_PLACE = re.compile(r"(\d{1,9}):(\d{1,18})")
_OFFSETS = re.compile(r"(?P<one>\d{1,18})|(?P<first>\d{1,18})?-(?P<last>\d{1,18})?")


def selection_of(
    places: Sequence[str] | None,
    reasons: Sequence[str] | None,
    pipelines: Sequence[str] | None,
    since: str | None,
    until: str | None,
    partition: int | None,
    offsets: str | None,
    states: Sequence[str] | None,
) -> Selection:
    """The letters that the options mean. Raises CommandError (exit 2) for one that cannot be read."""
    from steptrail.projections.clickhouse.queries import stored
    from steptrail.projections.stores.dead_letter_store import Selection, parse_states

    first, last = _offsets(offsets)
    try:
        wanted = parse_states(states or ("open",))
    except ValueError as error:
        raise _usage(str(error)) from None
    return Selection(
        reasons=tuple(reason.upper() for reason in reasons or ()),
        pipelines=tuple(stored(name) for name in pipelines or ()),
        since=None if since is None else parse_since(since),
        until=None if until is None else parse_since(until),
        partition=partition,
        first_offset=first,
        last_offset=last,
        places=tuple(parse_place(place) for place in places or ()),
        states=wanted,
    )


def note_absent(selection: Selection, matched: int) -> None:
    """Say, on standard error, when places were named that have no letter of that state."""
    absent = len(set(selection.places)) - matched
    if absent > 0:
        note(
            f"{absent} of the places named have no such letter: `steptrail dlq list --state all PLACE` says what "
            "became of one."
        )


def parse_place(text: str) -> tuple[int, int]:
    """Partition and offset out of `3:1734`. Raises CommandError (exit 2)."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise _usage(f"{text!r} is no place of a message: write PARTITION:OFFSET, such as 3:1734.")
    return int(match[1]), int(match[2])


def author(note: str = "") -> Author:
    """Whoever runs this command, now."""
    import getpass
    import socket
    import uuid

    from steptrail.projections.stores.dead_letter_store import Author

    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        user = "unknown"
    return Author(str(uuid.uuid4()), f"{user}@{socket.gethostname()}", note)


def _offsets(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    match = _OFFSETS.fullmatch(text.strip())
    if match is None or text.strip() == "-":
        raise _usage(f"{text!r} are no offsets: write 17, 10-20, 10- or -20.")
    if match["one"] is not None:
        return int(match["one"]), int(match["one"])
    return (
        None if match["first"] is None else int(match["first"]),
        None if match["last"] is None else int(match["last"]),
    )


def _usage(message: str) -> CommandError:
    return CommandError(message, exit_code=USAGE, kind="usage")
