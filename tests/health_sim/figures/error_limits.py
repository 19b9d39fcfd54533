"""What the error rule cannot do, measured: a bound here is what it keeps to, not what anybody would wish."""

from __future__ import annotations

import numpy as np

from bench.figure import Figure
from health_sim.simulation import DAY_SLOTS, HOUR_SLOTS, ErrorWorld, Simulation, spread
from steptrail.consumers.health.rules.columns import Floats
from steptrail.consumers.health.rules.kinds.errors import ErrorPolicy

FROM_FIVE_BOUND_S = 60
CLUSTERS = ((10, 20), (15, 20), (20, 20), (30, 60))
"""Errors, and the seconds within which they come."""
CREEPS = 100
CREEP_DAYS = 10
CREEPS_TO = 0.30


def measure(simulation: Simulation) -> list[Figure]:
    """A rise from a normal of 5 %; clusters of errors; a share that creeps."""
    found = [_from_five(simulation), _clusters(simulation)]
    return found if simulation.quick else [*found, _creep(simulation)]


def _from_five(simulation: Simulation) -> Figure:
    """5 to 20 % is told from chance by about 250 executions: 25 s of them at 10/s, and a slot, and the watermark."""
    world = ErrorWorld(simulation.random("from five"), np.full(simulation.amount(500, 2000), 10.0))
    world.pass_slots(2 * HOUR_SLOTS, 0.05)
    times = spread(world.until(True, 0.20, 0.05, 360))
    p99 = times["p99"]
    name = "error_detection_p99_s_from_5_percent_at_10_per_s"
    return Figure(name, p99, "s", f"<= {FROM_FIVE_BOUND_S}", p99 <= FROM_FIVE_BOUND_S, times)


def _clusters(simulation: Simulation) -> Figure:
    """How often a cluster at 1/s and 1 % is an alarm: 20 errors in 20 s are nothing else than an outage of 20 s."""
    each = simulation.amount(200, 2000)
    shares = {}
    for errors, seconds in CLUSTERS:
        rng = simulation.random(f"clusters {errors} in {seconds}")
        world = ErrorWorld(rng, np.full(each, 1.0))
        world.pass_slots(2 * HOUR_SLOTS, 0.01)
        at = rng.uniform(0, 5, (each, 1)) + rng.uniform(0, seconds, (each, errors))
        alarmed = np.zeros(each, np.bool_)
        for slot in range(2 * seconds // 5):
            alarmed |= world.pass_slot(0.01, (at // 5 == slot).sum(axis=1)) > 0
        shares[f"{errors} in {seconds} s"] = float(alarmed.mean())
    value = shares["20 in 20 s"]
    return Figure("error_cluster_20_in_20_s_alarmed", value, "share", "", True, shares)


def _creep(simulation: Simulation) -> Figure:
    """The share at which a creep from 1 to 30 % over ten days is noticed, learned and pinned."""
    found = {
        name: _crept(simulation, policy)
        for name, policy in (
            ("learned", ErrorPolicy()),
            ("normal pinned to 1 %", ErrorPolicy(normal=0.01)),
            (
                "normal pinned to 1 %, bad to 5 %",
                ErrorPolicy(normal=0.01, bad=0.05, least_share=0.03, started_share=0.03),
            ),
        )
    }
    detail = {name: spread(shares) for name, shares in found.items()}
    value = detail["learned"]["p50"]
    return Figure("error_creep_noticed_at", value, "share", "", True, detail)


def _crept(simulation: Simulation, policy: ErrorPolicy) -> Floats:
    world = ErrorWorld(simulation.random("creep"), np.full(CREEPS, 1.0))
    world.policy = policy
    noticed = np.full(CREEPS, np.nan)
    for slot in range(CREEP_DAYS * DAY_SLOTS):
        share = 0.01 + (CREEPS_TO - 0.01) * slot / (CREEP_DAYS * DAY_SLOTS)
        noticed[(world.pass_slot(share) > 0) & np.isnan(noticed)] = share
        if not np.isnan(noticed).any():
            break
    return noticed
