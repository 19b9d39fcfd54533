"""What happens to a replicated, secured Kafka: brokers go, come back empty, get new certificates or partitions."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]  # its stubs leave some out

from faults.load import Load
from faults.row import Outcome, Run
from faults.rows.brokers import accounted
from faults.workspace import Workspace
from support.cluster.cluster import KafkaCluster
from support.cluster.node_properties import HOST
from support.waiting import until


@contextmanager
def running(run: Run) -> Iterator[tuple[KafkaCluster, Workspace, Load]]:
    """A workspace on the cluster, replicated, with two workers and a projector at work."""
    cluster = run.world.cluster()
    reach = {
        name: getattr(cluster.settings(), name)
        for name in (
            "kafka",
            "kafka_security_protocol",
            "kafka_sasl_mechanism",
            "kafka_sasl_username",
            "kafka_sasl_password",
            "kafka_ssl_ca_location",
        )
    }
    with run.workspace(replication_factor=3, min_insync_replicas=2, **reach) as (workspace, load):
        load.start(rate=run.pick(200, 1000))
        load.start(rate=run.pick(200, 1000))
        workspace.projector(batch=1000)
        workspace.wait_rows()
        yield cluster, workspace, load
        cluster.heal()


def ended(run: Run, workspace: Workspace, load: Load, outcome: Outcome) -> Outcome:
    """Stop the workers and have the oracle judge."""
    load.stop()
    return accounted(load, run.judged(workspace, load, outcome))


def nothing_given_up(load: Load, outcome: Outcome) -> Outcome:
    """One broker of three is never missed: no event was given up."""
    outcome.ask(
        not any(account["failed"] or account["dropped"] for account in load.record.accounts()),
        "events were given up though two brokers were there",
    )
    return outcome


def leader_killed(run: Run) -> Outcome:
    """kill -9 of the broker that leads a partition, and a start on the same log."""
    kills = run.pick(1, 5)
    with running(run) as (cluster, workspace, load):
        for _ in range(kills):
            node = cluster.leader(workspace.topic, run.rng.randrange(len(workspace.partitions)))
            node.kill()
            load.wait_issued(load.issued() + run.pick(300, 1000))
            workspace.wait_rows(workspace.rows())
            node.start()
        return nothing_given_up(load, ended(run, workspace, load, Outcome(kills)))


def rolling_restart(run: Run) -> Outcome:
    """Each broker is stopped in order and started again, once all replicas are in sync."""
    with running(run) as (cluster, workspace, load):
        for node in cluster.nodes:
            node.stop()
            load.wait_issued(load.issued() + 200)
            node.start()
        return nothing_given_up(load, ended(run, workspace, load, Outcome(len(cluster.nodes))))


def disk_wiped(run: Run) -> Outcome:
    """A broker loses all of its data; it gets it back from the others, leads again, and another one goes away."""
    with running(run) as (cluster, workspace, load):
        node = cluster.leader(workspace.topic, 0)
        node.kill()
        node.wipe()
        node.start()
        other = cluster.leader(workspace.topic, 0)
        other.kill()
        load.wait_issued(load.issued() + 500)
        workspace.wait_rows(workspace.rows())
        other.start()
        return nothing_given_up(load, ended(run, workspace, load, Outcome(1)))


def two_away(run: Run) -> Outcome:
    """Nothing can be acknowledged: events stay pending, or have failed by the emitter's own account; none is lost."""
    with running(run) as (cluster, workspace, load):
        load.start("hasty", rate=100, settings={"message_timeout_ms": 1500})
        load.wait_issued(load.issued() + 100)
        away = run.rng.sample(cluster.nodes, 2)
        for node in away:
            node.kill()
        load.wait_failing("hasty")
        time.sleep(run.pick(3.0, 20.0))
        for node in away:
            node.begin()
        cluster.wait_whole()
        outcome = ended(run, workspace, load, Outcome(2))
        for account in load.record.accounts():
            given_up = sum(account["failed"].values()) + sum(account["dropped"].values())
            outcome.ask(account["pending"] == 0, f"{account['worker']} ended with events pending")
            if account["worker"] != "hasty":
                outcome.ask(not given_up, f"{account['worker']} gave up {given_up} events within its time")
        return outcome


def certificates_rotated(run: Run) -> Outcome:
    """Every broker gets a new certificate while clients are connected; who connects anew is shown the new one."""
    with running(run) as (cluster, workspace, load):
        shown = [_certificate(at.scram) for at in cluster.ports]
        for node in cluster.nodes:
            cluster.write_certificate(node)
            cluster.reload_certificates([node])
            load.wait_issued(load.issued() + 200)
        for before, at in zip(shown, cluster.ports, strict=True):
            until(lambda: _certificate(at.scram) != before, "new certificate")  # noqa: B023
        load.start("late", rate=run.pick(200, 500))
        load.wait_issued_by("late", run.pick(300, 1000))
        return nothing_given_up(load, ended(run, workspace, load, Outcome(len(cluster.nodes))))


def partitions_added(run: Run) -> Outcome:
    """From 6 partitions to 9, under load: new workers use them, and the projector finds them."""
    with running(run) as (cluster, workspace, load):
        before = len(workspace.partitions)
        admin = cluster.new_admin()
        for future in admin.create_partitions([NewPartitions(workspace.topic, before + 3)]).values():
            future.result(30)
        workspace.settings = workspace.settings.with_values(steps_partitions=before + 3)
        cluster.wait_whole()
        load.start("new", rate=run.pick(300, 1000))
        load.wait_issued_by("new", run.pick(500, 2000))
        outcome = ended(run, workspace, load, Outcome(3))
        added = [
            int(number)
            for (number,) in workspace.store.query(
                f"SELECT DISTINCT kafka_partition FROM steps WHERE kafka_partition >= {before} ORDER BY 1"
            )
        ]
        outcome.ask(
            added == [before, before + 1, before + 2], f"of the new partitions {added} were projected"
        )
        return nothing_given_up(load, outcome)


def _certificate(port: int) -> str:
    return ssl.get_server_certificate((HOST, port))
