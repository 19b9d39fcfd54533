"""How processes begin and end: forks of every kind, exits of every kind."""

from __future__ import annotations

import json
import signal

from faults.row import Outcome, Run
from faults.rows.brokers import accounted
from support.waiting import until


def prefork(run: Run) -> Outcome:
    """Every event of parent, children and grandchildren arrives, as its own process's; no child hangs or fails."""
    forks, each = run.pick(20, 100), 40
    with run.workspace() as (workspace, load):
        workspace.projector(batch=2_000)
        server = load.program("faults.prefork", name="server", forks=forks, each=each)
        server.wait(run.pick(240, 600))
        outcome = run.judged(workspace, load, Outcome(forks))
        file = load.record.folder / "server.codes"
        if not file.exists():
            outcome.wrong.append(f"the server ended with {server.code}: {server.said()[-800:]}")
            return outcome
        codes = json.loads(file.read_text())
        bad = {child: code for child, code in codes.items() if code}
        outcome.ask(not bad, f"children ended badly (-9: they hung): {dict(sorted(bad.items())[:5])}")
        issued, found = load.record.issued_up_to(), workspace.rows_of_workers()
        missing = {
            child: count - found.get(child, 0) for child, count in issued.items() if count != found.get(child)
        }
        outcome.ask(not missing, f"missing of {len(missing)} processes: {dict(sorted(missing.items())[:5])}")
        outcome.ask(
            outcome.verdict.acknowledged == outcome.verdict.issued,
            f"{outcome.verdict.issued} were emitted, {outcome.verdict.acknowledged} acknowledged",
        )
        sql = (
            "SELECT count() FROM "
            "(SELECT emitter_id, sequence FROM steps GROUP BY 1, 2 HAVING uniqExact(event_id) > 1)"
        )
        twice = int(workspace.store.query(sql)[0][0])
        outcome.ask(not twice, f"{twice} sequence numbers were given to two events")
        outcome.detail["processes"] = len(found)
        return outcome


_DELIVERS = ("return", "exception")
_CODES = {"return": 0, "exception": 1, "sigterm": -signal.SIGTERM, "_exit": 7, "kill": -signal.SIGKILL}
_COUNT = 1_500


def exits(run: Run) -> Outcome:
    """A process that ends by its own means delivers all; one that is ended delivers what it had flushed."""
    outcome = Outcome(0)
    with run.workspace() as (workspace, load):
        workspace.projector(batch=2_000)
        for number in range(run.pick(2, 8)):
            names = []
            for end in _CODES:
                name = f"{end}-{number}"
                names.append(name)
                told = "hang" if end == "kill" else end
                # Fast, so that something is pending when it ends.
                load.start(name, count=_COUNT, flush_at=_COUNT // 2, close=False, end=told)
            for name, worker in zip(names, load.workers[-len(names) :], strict=True):
                end = name.partition("-")[0]
                if end == "kill":
                    until(lambda at=name: load.record.issued_up_to().get(at, 0) >= _COUNT, "emission")  # type: ignore[misc]
                    worker.kill()
                code = worker.wait()
                outcome.ask(code == _CODES[end], f"{name} ended with {code}: {worker.said()[-300:]}")
                outcome.injected += 1
        run.judged(workspace, load, outcome)
        found = workspace.rows_of_workers()
        shown: dict[str, list[int]] = {}
        for name in load.record.issued_up_to():
            end, count = name.partition("-")[0], found.get(name, 0)
            shown.setdefault(end, []).append(count)
            wanted = _COUNT if end in _DELIVERS else _COUNT // 2
            outcome.ask(count >= wanted, f"{count} of {name} are there, {wanted} were promised")
        outcome.detail["rows"] = {"of": _COUNT, "flushed": _COUNT // 2, **shown}
        return accounted(load, outcome)
