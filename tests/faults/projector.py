"""`python -m faults.projector`: the projector as it is run, with faults at named steps or without a safeguard.

FAULTS_PLAN            what happens at which step, see faults.hooks
FAULTS_WITHOUT         the safeguard that is taken out, see faults.safeguards
FAULTS_SELF_ASSIGNED   1: it does not join its group but believes to own every partition
"""

from __future__ import annotations

import os
import signal
import threading
from functools import partial

from faults import hooks, safeguards
from faults.safeguards import instead_of


def main() -> int:
    """Run until SIGTERM."""
    safeguards.remove(os.environ.get(safeguards.VARIABLE))
    from steptrail.consumers.projector import run as projector
    from steptrail.projections.clickhouse import shards
    from steptrail.schemas.configuration.settings import Settings

    plan = hooks.Plan.from_environment()
    self_assigned = os.environ.get("FAULTS_SELF_ASSIGNED") == "1"
    instead_of(shards, "ClickHouse", partial(hooks.HookedClickHouse, plan=plan))
    instead_of(projector, "Consumer", hooks.hooked_consumer(plan, self_assigned=self_assigned))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return projector.run_projector(Settings(), stop)


if __name__ == "__main__":
    raise SystemExit(main())
