"""The whole pipeline on three secured brokers, each part with just its rights."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer

from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.topics import ensure_topics
from support.alerting import QUICK, alerting, alerts_file, route, webhook
from support.cluster.cluster import KafkaCluster
from support.cluster.secured import Secured, secured_pipeline
from support.effort import ONLY_IN_TEST_ALL
from support.judging import Traffic, health_consumers, status_of
from support.listener import listening
from support.projecting import projected, projecting
from support.stack import Stack
from support.waiting import until
from support.web import Api, serving

pytestmark = ONLY_IN_TEST_ALL


@pytest.mark.parametrize(
    "tls",
    [
        pytest.param(False, id="SCRAM over TLS"),
        pytest.param(True, id="mutual TLS"),
    ],
)
def test_the_whole_pipeline_runs_with_just_these_rights(
    cluster: KafkaCluster, stack: Stack, tmp_path: Path, tls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Topics, events, dead letters, verdicts, alerts, commands and pages, each as a principal of its own."""
    with secured_pipeline(cluster, stack, tls=tls) as secured:
        code, out, err = secured.cli("admin", "topics", "--json")
        assert (code, {json.loads(line)["outcome"] for line in out.splitlines()}) == (0, {"created"}), err
        code, out, err = secured.cli("admin", "topics", "--json")
        assert (code, {json.loads(line)["outcome"] for line in out.splitlines()}) == (0, {"unchanged"}), out
        with (
            listening() as target,
            projecting(secured.of("projector")),
            health_consumers(secured.of("health")) as [health],
            projected(secured.of("projector")) as store,
        ):
            _emit(secured)
            with Traffic(secured.of("emitter")) as traffic:
                until(lambda: status_of(store.clickhouse, "p") == "HEALTHY", "HEALTHY")
                file = alerts_file(tmp_path, QUICK + webhook("ops", target.url) + route("ops"))
                with alerting(secured.of("alerts").with_values(alerts_file=str(file))):
                    traffic.failing = 0.9
                    until(lambda: target.got, "a notification")
                    _operate(secured)
                    _browse(secured)
            letters = "SELECT count() FROM dead_letter_state"
            until(lambda: store.clickhouse.query(letters) != [(0,)], "the dead letter")
            told = "SELECT count() FROM emitters"
            until(lambda: store.clickhouse.query(told) != [(0,)], "an emitter's report")
            assert "lacks the right" not in health.said() + caplog.text


def _emit(secured: Secured) -> None:
    settings = secured.of("emitter")
    manager = ProcessingStepManager(open_storage(settings))
    for number in range(20):
        manager.add_step(f"doc-{number}", "parse", ProcessingStatus.SUCCESS)
    assert manager.flush(timeout=60) == 0
    assert manager.wait_projected(timeout=120)
    assert [step.step_name for step in manager.get_steps("doc-7")] == ["parse"]
    producer = Producer(settings.kafka_config())
    producer.produce(secured.topics.steps.name, b"no event")
    assert producer.flush(60) == 0


def _operate(secured: Secured) -> None:
    """Every command that talks to Kafka."""

    def done(*argv: str, codes: tuple[int, ...] = (0,)) -> str:
        code, out, err = secured.cli("operator", *argv)
        assert code in codes, (argv, code, out, err)
        assert "lacks the right" not in out + err
        return out

    lag = json.loads(done("lag", "--json", codes=(0, 1)))
    assert lag["problems"] == []
    assert lag["group_state"] == "STABLE"
    listing = ("dlq", "list", "--json")
    until(lambda: done(*listing, codes=(0, 3)), "the dead letter")  # 3: events go on coming
    [letter] = [json.loads(line) for line in done(*listing, codes=(0, 3)).splitlines()]
    done("dlq", "show", f"{letter['source_partition']}:{letter['source_offset']}")
    done("dlq", "redrive", "--force", "--limit", "1", "--json", "--wait", "0", "--yes")
    made = json.loads(
        done("alerts", "silence", "--pipeline", "p", "--for", "1h", "--reason", "test", "--json", "--yes")
    )
    assert [json.loads(line)["id"] for line in done("alerts", "silences", "--json").splitlines()] == [
        made["id"]
    ]
    done("alerts", "list", "--json")
    retention = json.loads(done("retention", "--json"))
    erased = json.loads(done("erase", "p", "doc-7", "--json"))
    assert {each["topic"] for each in retention["topics"]} == {each["topic"] for each in erased["topics"]}
    assert secured.topics.steps.name in {each["topic"] for each in retention["topics"]}
    done("alerts", "expire", made["id"], "--yes")
    broker = [
        f
        for f in json.loads(done("health", "--json", codes=(0, 1, 2, 3)))["findings"]
        if f["rule"] == "broker"
    ]
    assert broker == []

    def is_fresh() -> bool:
        document = json.loads(done("doc", "doc-7", "--json", codes=(0, 3)).splitlines()[0])
        return "freshness_problem" not in document

    until(is_fresh, "an answer that knows how fresh it is")


def _browse(secured: Secured) -> None:
    with serving(secured.of("web")) as api:
        for path in ("/lag", "/freshness", "/health", "/alerts", "/silences", "/dead-letters"):
            until(partial(_answered, api, path), path)
            assert "lacks the right" not in api.get(path).body.decode(), path
        body = {"pipeline": "p", "for_seconds": 60, "reason": "test"}
        assert api.post("/silences", body).status == 200
        assert api.post("/dead-letters/redrive", {"dry_run": True}).status == 200


def _answered(api: Api, path: str) -> bool:
    return api.get(path).status == 200


def test_topics_are_compared_with_replicas_and_in_sync_replicas(cluster: KafkaCluster, stack: Stack) -> None:
    """Both differences are shown; in-sync replicas are set right when asked, replicas are not."""
    with secured_pipeline(cluster, stack) as secured:
        before = secured.of("admin").with_values(replication_factor=2, min_insync_replicas=1)
        ensure_topics(before)
        changes = ensure_topics(secured.of("admin"))
        assert {change.outcome for change in changes} == {"drifted"}
        assert {
            (each.name, each.wanted, each.is_now) for change in changes for each in change.differences
        } == {
            ("min.insync.replicas", "2", "1"),
            ("replicas", "3", "2"),
        }
        ensure_topics(secured.of("admin"), alter=True)
        left = ensure_topics(secured.of("admin"))
        assert {each.name for change in left for each in change.differences} == {"replicas"}
