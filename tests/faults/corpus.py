"""What workers emit: event number n of a worker is a function of both, so that whoever knows them can say what
must stand in the tables without having watched.

Eight documents of a worker are on their way at a time, interleaved; each goes through the ten events of STEPS,
with every status, a retry and errors in them. Payloads differ in length and hold what is not ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from steptrail.schemas.status import ProcessingStatus as Status

STEPS: tuple[tuple[str, Status], ...] = (
    ("fetch", Status.PENDING),
    ("fetch", Status.RUNNING),
    ("fetch", Status.SUCCESS),
    ("ocr", Status.RUNNING),
    ("ocr", Status.ERROR),
    ("ocr", Status.RUNNING),
    ("ocr", Status.WARNING),
    ("translate", Status.SKIPPED),
    ("index", Status.RUNNING),
    ("index", Status.FAILED),
)
IN_FLIGHT = 8
_EACH = len(STEPS)
_MASK = 0xFFFF_FFFF
_WORDS = ("Ωμέγα", "pages", "naïve", "table", "図書館", "figure", "Straße", "footnote")


@dataclass(frozen=True, slots=True)
class Planned:
    """Event `number` of `worker`, as `add_step` takes it."""

    worker: str
    number: int
    doc_id: str
    step_name: str
    status: Status
    details: dict[str, Any]
    metrics: dict[str, Any]
    error_message: str | None


def planned(worker: str, number: int, filler: int = 0) -> Planned:
    """The event; `filler` characters that do not compress well make it larger."""
    group, place = divmod(number, IN_FLIGHT * _EACH)
    position, lane = divmod(place, IN_FLIGHT)
    step_name, status = STEPS[position]
    # A multiplicative hash: as good as random here, and cheap enough for thousands a second.
    dice = (number * 2654435761 + len(worker) * 40503) & _MASK
    details: dict[str, Any] = {"w": worker, "n": number, "text": _WORDS[dice & 7] * (dice >> 27)}
    if filler:
        details["filler"] = _incompressible(number, filler)
    error = None
    if status.is_error or status is Status.FAILED:
        error = f"{step_name} failed on page {dice % 97}: {_WORDS[dice >> 3 & 7]}"
    return Planned(
        worker,
        number,
        f"{worker}/{group * IN_FLIGHT + lane:07d}",
        step_name,
        status,
        details,
        {"pages": dice % 1000, "ratio": (dice >> 8 & 0xFF) / 256},
        error,
    )


def _incompressible(number: int, length: int) -> str:
    import random

    return random.Random(number).randbytes(length // 2 + 1).hex()[:length]
