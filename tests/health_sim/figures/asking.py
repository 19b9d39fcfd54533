"""What `perform_health_check` takes: with a real health consumer, broker and store, and with none of them."""

from __future__ import annotations

import time

from bench.figure import Figure, percentile
from bench.session import Session
from health_sim.simulation import Simulation
from steptrail.consumers import HealthCheckManager, HealthStatus
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.schemas import ProcessingStatus, Settings
from support.judging import health_consumers

BOUND_MS = 50.0
BOUND_DOWN_MS = 2_000.0
QUESTIONS = 500
QUESTIONS_DOWN = 20
PATIENCE_S = 120.0
NOBODY = "127.0.0.1:9"


def measure(simulation: Simulation) -> list[Figure]:
    """The p99 of what a manager that is kept needs for an answer; the most that it needs when nothing is up."""
    with Session(quick=simulation.quick) as session:
        settings = session.workspace("asking")
        with health_consumers(settings):
            _emit(settings)
            with HealthCheckManager(settings) as manager:
                _await_verdict(manager)
                up = [_ms(manager, HealthStatus.HEALTHY) for _ in range(QUESTIONS)]
    nothing = settings.with_values(kafka=NOBODY, clickhouse=f"http://default@{NOBODY}/x")
    with HealthCheckManager(nothing) as manager:
        down = [_ms(manager, HealthStatus.UNKNOWN) for _ in range(QUESTIONS_DOWN)]
    p99, worst = percentile(up, 0.99), max(down)
    detail = {"p50_ms": percentile(up, 0.5), "nothing_up_at_most_ms": worst, "questions": QUESTIONS}
    bound = f"<= {BOUND_MS:g}; with nothing up <= {BOUND_DOWN_MS:g}"
    ok = p99 <= BOUND_MS and worst <= BOUND_DOWN_MS
    return [Figure("health_check_p99_ms", p99, "ms", bound, ok, detail)]


def _emit(settings: Settings) -> None:
    manager = ProcessingStepManager(emit_only(settings))
    for number in range(100):
        manager.add_step(f"doc {number}", "ocr", ProcessingStatus.SUCCESS)
    if left := manager.flush(30):
        raise RuntimeError(f"{left} events were not delivered")
    manager.close()


def _await_verdict(manager: HealthCheckManager) -> None:
    end = time.monotonic() + PATIENCE_S
    while manager.perform_health_check().status is not HealthStatus.HEALTHY:
        if time.monotonic() > end:
            raise TimeoutError(f"after {PATIENCE_S:g} s: {manager.perform_health_check().sentence}")
        time.sleep(0.5)


def _ms(manager: HealthCheckManager, expected: HealthStatus) -> float:
    began = time.perf_counter()
    check = manager.perform_health_check()
    took = (time.perf_counter() - began) * 1000
    if check.status is not expected:
        raise RuntimeError(f"{check.status}, not {expected}: {check.sentence}")
    return took
