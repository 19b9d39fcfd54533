"""`python -m faults.worker`: a process that emits, told what to do by the JSON in FAULTS_WORKER.

name, folder         who it is, and where its record goes
rate, count          events a second (0: as fast as it goes), and how many in all (null: until SIGTERM)
settings             settings of the emitter that differ
flush_at             a number of events after which it waits until they are delivered
filler               characters that make each event larger
clock_s              how far its clock is off
gives_times          true: it gives the time of each event, by that clock
flush_s, close_s     how long it may deliver before it closes the emitter, and in closing it
close                false: it ends without closing the emitter, as programs do
end                  return, exception, sigterm, _exit or hang (until it is killed)
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from faults import safeguards, witness


def main() -> int:
    """Emit, and end as told."""
    plan: dict[str, Any] = json.loads(os.environ["FAULTS_WORKER"])
    folder = Path(plan["folder"])
    witness.install(folder / f"{plan['name']}.acks")
    set_clock(plan.get("clock_s", 0.0))
    safeguards.remove(os.environ.get(safeguards.VARIABLE))
    from faults.emitting import BalanceWatch, Emission

    logging.getLogger("steptrail.steps").setLevel(logging.CRITICAL)
    stop = threading.Event()
    if plan.get("end", "return") != "sigterm":
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    emission = Emission(
        folder,
        plan["name"],
        filler=plan.get("filler", 0),
        gives_times=plan.get("gives_times", False),
        **plan.get("settings", {}),
    )
    watch = BalanceWatch(emission.emitter, folder / f"{plan['name']}.failing")
    watch.start()
    if "flush_at" in plan:
        emission.run(stop, rate=plan.get("rate", 0), count=plan["flush_at"])
        emission.emitter.flush(60.0)
    emission.run(stop, rate=plan.get("rate", 0), count=plan.get("count"))
    if plan.get("close", True):
        emission.emitter.flush(plan.get("flush_s", 60.0))
        emission.emitter.close(plan.get("close_s", 2.0))
        emission.account(final=True, balance_checks=watch.checks, unbalanced=watch.wrong)
    else:
        emission.account(final=False, balance_checks=watch.checks, unbalanced=watch.wrong)
    return end(plan.get("end", "return"))


def end(how: str) -> int:
    """End the process; returns the exit code where it ends by returning."""
    if how == "exception":
        raise RuntimeError("the worker's program failed")
    if how == "_exit":
        os._exit(7)
    if how == "sigterm":
        os.kill(os.getpid(), signal.SIGTERM)
    if how in ("hang", "sigterm"):
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(3600)
    return 0


def set_clock(seconds: float) -> None:
    """Put this interpreter's clock ahead, or back; before anything of steptrail is imported."""
    if not seconds:
        return
    now, now_ns, ahead = time.time, time.time_ns, int(seconds * 1e9)
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + ahead


if __name__ == "__main__":
    sys.exit(main())
