"""Workers whose clocks are wrong, and who give the times of their events: what emitters measure is corrected."""

from __future__ import annotations

from faults.row import Outcome, Run

_DAY_S = 86_400.0
_OFF = {
    "right": 0.0,
    "day_ahead": _DAY_S,
    "day_behind": -_DAY_S,
    "year_ahead": 365 * _DAY_S,
    "year_behind": -365 * _DAY_S,
}
_TOLERANCE_S = 60.0


def wrong(run: Run) -> Outcome:
    """A day and a year off, ahead and behind, side by side: stored as they said, folded by the broker's word."""
    with run.workspace() as (workspace, load):
        projector = workspace.projector(batch=2000)
        for name, seconds in _OFF.items():
            load.start(name, rate=500, count=run.pick(2_000, 10_000), clock_s=seconds, gives_times=True)
        load.join()
        outcome = run.judged(workspace, load, Outcome(len(_OFF) - 1))
        sql = (
            "SELECT JSONExtractString(details, 'w') AS worker, "
            "quantileExact(0.5)(toUnixTimestamp64Milli(timestamp) - toUnixTimestamp64Milli(broker_time)) / 1000 "
            "FROM steps GROUP BY worker"
        )
        found = {str(worker): float(off) for worker, off in workspace.store.query(sql)}
        for name, seconds in _OFF.items():
            off = found.get(name, 0.0)
            outcome.ask(abs(off - seconds) < _TOLERANCE_S, f"{name} is stored {off:.0f} s off")
        outcome.ask(projector.code is None, "the projector ended")
        return outcome
