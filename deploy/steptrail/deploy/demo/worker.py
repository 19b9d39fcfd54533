"""One worker process of the demonstration: documents in on standard input, progress and a report out.

It is what a user's worker is: a ProcessingStepManager on a storage that only emits, and the pipeline's code.
Where Kafka is, it takes from the environment, as any worker does.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from steptrail.deploy.demo.pipeline import process
from steptrail.producers import ProcessingStepManager, StepEmitter, emit_only

#: Seconds between two lines of progress.
_PROGRESS_S = 0.2

#: Seconds that the last deliveries may take.
_FLUSH_S = 60.0


def main() -> int:
    """Read the job from standard input, work through its documents, report. 0 when all was delivered."""
    job = json.load(sys.stdin)
    # Each failure is an event, and would be a line here too: the demonstration shows the events.
    logging.getLogger("steptrail.steps").addHandler(logging.NullHandler())
    logging.getLogger("steptrail.steps").propagate = False

    storage = emit_only(pipeline=job["pipeline"])
    assert isinstance(storage, StepEmitter)  # what else would emit; its accounting is wanted below
    manager = ProcessingStepManager(storage)
    documents: list[str] = job["documents"]
    told = time.monotonic()
    for number, path in enumerate(documents):
        process(manager, path, run=job["run"])
        if time.monotonic() - told >= _PROGRESS_S:
            told = time.monotonic()
            _say({"done": number + 1})
    pending = manager.flush(_FLUSH_S)
    _say({"report": _report(storage, len(documents))})
    storage.close()
    return 1 if pending else 0


def _report(emitter: StepEmitter, documents: int) -> dict[str, Any]:
    accounting = emitter.accounting()
    return {
        "emitter_id": emitter.emitter_id.hex(),
        "documents": documents,
        "accepted": accounting.accepted,
        "delivered": accounting.delivered,
        "failed": dict(accounting.failed),
        "dropped": dict(accounting.dropped),
        "pending": accounting.pending,
        "spooled": accounting.spooled,
    }


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
