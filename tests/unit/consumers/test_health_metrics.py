"""What a health consumer shows to Prometheus beside its consume loop."""

from __future__ import annotations

from steptrail.consumers.health.metrics import HealthMetrics
from steptrail.consumers.loop.feed import Leadership
from steptrail.projections.reading.health_losses import LossCounts


class Judging:
    watermark: float | None = None


def shown(metrics: HealthMetrics) -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_losses_are_there_before_the_first() -> None:
    """Prometheus sees no increase in a series that begins with it."""
    metrics = HealthMetrics()
    for kind in ("dropped", "missing"):
        assert shown(metrics)[f'steptrail_health_lost_events_total{{kind="{kind}"}}'] == 0
    metrics.lost_more(LossCounts(dropped=3, gaps=2, dead_letters=7))
    metrics.lost_more(LossCounts(gaps=1))
    assert shown(metrics)['steptrail_health_lost_events_total{kind="dropped"}'] == 3
    assert shown(metrics)['steptrail_health_lost_events_total{kind="missing"}'] == 3


def test_the_watermark_is_that_of_now() -> None:
    """As is whether this member judges; 0 while there is no watermark."""
    metrics, judging, leadership = HealthMetrics(), Judging(), Leadership()
    metrics.follow(judging, leadership)
    assert shown(metrics)["steptrail_health_watermark_timestamp_seconds"] == 0
    assert shown(metrics)["steptrail_health_active"] == 0
    judging.watermark, leadership.held = 1_800_000_000.5, True
    assert shown(metrics)["steptrail_health_watermark_timestamp_seconds"] == 1_800_000_000.5
    assert shown(metrics)["steptrail_health_active"] == 1
