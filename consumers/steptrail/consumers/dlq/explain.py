"""Why a message is not an event: its fields as far as they can be read, and the byte that failed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.status import STATUS_BY_CODE
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA
from steptrail.schemas.wire.decoder import DecodedField, decode_fields
from steptrail.schemas.wire.framing import Frame, split_frame

ROW = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Explanation:
    """The parts of a value. Positions count from the start of the value.

    `fields` are those before the fault, `fault` is None for a message that is an event by now. `guessed` says
    that the writer's schema is not known, and that this version's was tried instead: then `fault` is the schema,
    and the fields may be nonsense.
    """

    frame: Frame | None
    fields: tuple[DecodedField, ...]
    fault: EventDecodeError | None
    guessed: bool = False


def explain(value: bytes | None, schemas: WriterSchemas) -> Explanation:
    """Take `value` apart as far as it goes.

    Raises RegistryUnavailable where a registry has to be asked for the schema and does not answer.
    """
    try:
        frame = split_frame(value)
    except EventDecodeError as error:
        return Explanation(None, (), error)
    assert value is not None
    unknown = None
    try:
        schema = schemas.schema_of(frame)
    except EventDecodeError as error:
        unknown, schema = error, STEP_EVENT_SCHEMA
    found, fault = decode_fields(value[frame.length :], schema)
    fields = tuple(
        DecodedField(each.name, each.value, each.start + frame.length, each.end + frame.length)
        for each in found
    )
    if unknown is not None:
        return Explanation(frame, fields, unknown, guessed=True)
    if fault is None:
        return Explanation(frame, fields, None)
    at = None if fault.position is None else fault.position + frame.length
    return Explanation(
        frame, fields, EventDecodeError(fault.reason, fault.message, position=at, field=fault.field)
    )


def shown(field: DecodedField) -> Any:
    """A field's value as people read it: ids and times as text, a status by its name."""
    value = field.value
    if field.name in ("event_id", "execution_id"):
        return str(uuid.UUID(bytes=value))
    if isinstance(value, bytes):
        return value.hex()
    if field.name == "status":
        return STATUS_BY_CODE[value].value
    if field.name == "timestamp":
        return (_EPOCH + timedelta(microseconds=value)).isoformat().replace("+00:00", "Z")
    return value


@dataclass(frozen=True)
class HexRow:
    """Up to 16 bytes of a value from `offset` on; `marked` is the one among them that failed, None in other rows.

    A failing position behind the last byte is a row's `marked` of its length: the byte that is missing.
    """

    offset: int
    data: bytes
    marked: int | None

    @property
    def text(self) -> str:
        """The bytes as characters, a dot for what is none."""
        return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in self.data)


def hex_rows(value: bytes, position: int | None, *, around: int | None = 6) -> Iterator[HexRow | int]:
    """The rows of a hex dump; where rows are left out, how many bytes.

    Shown are the first rows and `around` rows on each side of `position`; all of them when `around` is None.
    """
    marked_row = None
    last_row = max(0, len(value) - 1) // ROW
    if position is not None:
        # A missing byte is shown behind a full row, not in one of its own.
        marked_row = min(position // ROW, last_row) if position <= len(value) else None
    skipped = 0
    for row in range(last_row + 1):
        near = marked_row is not None and around is not None and abs(row - marked_row) <= around
        if around is not None and row >= around and not near:
            skipped += len(value[row * ROW : (row + 1) * ROW])
            continue
        if skipped:
            yield skipped
            skipped = 0
        marked = position - row * ROW if position is not None and row == marked_row else None
        yield HexRow(row * ROW, value[row * ROW : (row + 1) * ROW], marked)
    if skipped:
        yield skipped


def hex_text(rows: Sequence[HexRow | int]) -> str:
    """The dump as plain text, the byte that failed in brackets; `[--]` is one that is missing."""
    lines = []
    for row in rows:
        if isinstance(row, int):
            lines.append(f"          … {row} bytes …")
            continue
        cells = [f" {byte:02x} " for byte in row.data]
        cells += ["    "] * (ROW - len(cells))
        if row.marked is not None:
            missing = row.marked >= len(row.data)
            cell = "[--]" if missing else f"[{row.data[row.marked]:02x}]"
            if row.marked < ROW:
                cells[row.marked] = cell
            else:
                cells.append(cell)
        lines.append(f"{row.offset:08x}  {''.join(cells)}  {row.text}".rstrip())
    return "\n".join(lines)
