"""A worker that emits at a fixed rate: `python -m bench.paced RATE SECONDS MARK_EVERY`, settings by environment.

Every `MARK_EVERY`th event is a marker: pipeline `markers`, documents `marker-00000000` and on, its timestamp the
moment just before the call.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone

from steptrail.producers import StepEmitter
from steptrail.schemas import ProcessingStatus

RUNNING, SUCCESS = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS
TICK_S = 0.005


def main(rate: int, seconds: int, mark_every: int) -> None:
    """Emit, then wait until everything is delivered."""
    work, markers = StepEmitter(pipeline="work"), StepEmitter(pipeline="markers")
    started = time.monotonic()
    for number in range(rate * seconds):
        ahead = started + number / rate - time.monotonic()
        if ahead > TICK_S:
            time.sleep(ahead)
        if number % mark_every == 0:
            markers.emit(
                doc_id=f"marker-{number // mark_every:08d}",
                step_name="mark",
                status=SUCCESS,
                timestamp=datetime.now(timezone.utc),
            )
        else:
            status = SUCCESS if number % 2 else RUNNING
            details = {"pages": 12, "language": "en"} if number % 2 else None
            work.emit(
                doc_id=f"invoices/INV-{number // 2:07d}.pdf", step_name="ocr", status=status, details=details
            )
    for emitter in (work, markers):
        left = emitter.flush(20)
        if left:
            raise SystemExit(f"{left} events were not delivered")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
