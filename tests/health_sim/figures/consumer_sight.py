"""The real consumer over a real Kafka, seen through HealthCheckManager: trouble with its sight, one kind at a time.

Nothing after the moment of the fault can be known to be complete, so W can be no later than that moment: whoever
says HEALTHY more than 60 s after it has said it with now - W > 60 s.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import psutil
from confluent_kafka import Producer

from bench.figure import Figure
from bench.processor import pid_behind, port_of
from bench.session import Session
from health_sim.simulation import Simulation
from steptrail.consumers import HealthCheckManager, HealthStatus
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas import Settings
from steptrail.schemas.topics import Topics
from support.judging import HealthProcess, Traffic
from support.proxy import Fate, Proxy, proxy_to

BOUND_S = 70
TRULY_BLIND_S = 60.0
ASK_EVERY_S = 0.25
LASTS_S = 72.0
PATIENCE_S = 90.0
BLIND_BY_SQL = """
SELECT state = 'BLIND' OR now64(3) - at > 15 OR now64(3) - watermark > 60
FROM health_sight ORDER BY at DESC LIMIT 1
"""


@dataclass
class Seen:
    """What was said while a fault lasted: seconds until UNKNOWN, by the manager and by the table health_sight."""

    to_unknown_s: float = math.inf
    to_unknown_by_sql_s: float = math.inf
    recovered_s: float = math.inf
    asked: int = 0
    healthy_after_60_s: int = 0
    reason: str = ""


class Watched:
    """A workspace with traffic, a health consumer that reaches the store by a proxy, and someone who asks."""

    def __init__(self, settings: Settings, proxy: Proxy, held: ExitStack) -> None:
        url = urlsplit(settings.clickhouse.get_secret_value())
        credentials = url.netloc.rpartition("@")[0]
        through = url._replace(netloc=f"{credentials}@127.0.0.1:{proxy.port}").geturl()
        self.settings, self.proxy = settings.with_values(clickhouse=through), proxy
        self.consumer = HealthProcess(self.settings)
        held.callback(lambda: self.consumer.close())
        self.manager = held.enter_context(HealthCheckManager(self.settings))
        self._store = held.enter_context(connect(settings))
        held.enter_context(Traffic(settings, rate=20.0))

    def wait_until_known(self) -> float:
        """Ask until the answer is HEALTHY; return the seconds that took. Raises RuntimeError."""
        began = time.monotonic()
        while (check := self.manager.perform_health_check()).status is not HealthStatus.HEALTHY:
            if time.monotonic() - began > PATIENCE_S:
                raise RuntimeError(
                    f"not HEALTHY after {PATIENCE_S} s: {check.sentence}\n{self.consumer.said()[-3000:]}"
                )
            time.sleep(ASK_EVERY_S)
        return time.monotonic() - began

    def ask_while_it_lasts(self, seen: Seen) -> None:
        """Ask for 72 s, and note what is said."""
        began = time.monotonic()
        while (since := time.monotonic() - began) < LASTS_S:
            check = self.manager.perform_health_check()
            seen.asked += 1
            if check.status is HealthStatus.UNKNOWN and not seen.reason:
                seen.to_unknown_s, seen.reason = time.monotonic() - began, check.findings[0].sentence
            seen.healthy_after_60_s += check.status is HealthStatus.HEALTHY and since > TRULY_BLIND_S
            if seen.to_unknown_by_sql_s == math.inf and self._store.query(BLIND_BY_SQL)[0][0]:
                seen.to_unknown_by_sql_s = time.monotonic() - began
            time.sleep(ASK_EVERY_S)


@contextmanager
def partition_behind(watched: Watched) -> Iterator[None]:
    """A transaction stays open on one partition: nothing after it can be read."""
    producer = Producer(
        {
            **watched.settings.kafka_config(),
            "transactional.id": f"{watched.settings.topic_prefix}-hangs",
            "transaction.timeout.ms": 300_000,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(Topics(watched.settings.topic_prefix).steps.name, b"never to be read", partition=0)
    producer.flush(30)
    yield
    producer.abort_transaction(30)


@contextmanager
def consumer_killed(watched: Watched) -> Iterator[None]:
    """kill -9; another is started afterwards."""
    watched.consumer.kill()
    yield
    watched.consumer.close()
    watched.consumer = HealthProcess(watched.settings)


@contextmanager
def store_away(watched: Watched) -> Iterator[None]:
    """ClickHouse refuses every connection, of the consumer and of who asks."""
    watched.proxy.meet(Fate.REFUSE)
    yield
    watched.proxy.meet(Fate.PASS)


@contextmanager
def broker_away(address: str) -> Iterator[None]:
    """Frozen: it takes connections and does not answer. The stack's supervisor may kill it and start another."""
    broker = psutil.Process(pid_behind(port_of(address)))
    broker.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            broker.resume()


FAULTS: dict[str, Callable[[Watched], AbstractContextManager[None]]] = {
    "partition behind": partition_behind,
    "consumer killed": consumer_killed,
    "ClickHouse away": store_away,
}


def measure(simulation: Simulation) -> list[Figure]:
    """Three faults side by side, each in a workspace of its own; then the broker is frozen for all of them."""
    logging.getLogger("clickhouse_connect").setLevel(
        logging.CRITICAL
    )  # it says each refusal that is asked for
    found = {name: Seen() for name in (*FAULTS, "broker away")}
    with Session(quick=False) as session, ExitStack() as held:
        store = urlsplit(session.stack.clickhouse)
        watched: dict[str, Watched] = {}
        for name in FAULTS:
            proxy = held.enter_context(proxy_to(port_of(session.stack.clickhouse), str(store.hostname)))
            watched[name] = Watched(session.workspace("sight"), proxy, held)
        for each in watched.values():
            each.wait_until_known()
        with ExitStack() as faults, ThreadPoolExecutor(len(FAULTS)) as asking:
            for name, fault in FAULTS.items():
                faults.enter_context(fault(watched[name]))
                asking.submit(watched[name].ask_while_it_lasts, found[name])
        for name, each in watched.items():
            found[name].recovered_s = each.wait_until_known()
        with broker_away(session.stack.kafka):
            watched["consumer killed"].ask_while_it_lasts(found["broker away"])
        found["broker away"].recovered_s = watched["consumer killed"].wait_until_known()
    detail = {name: asdict(seen) for name, seen in found.items()}
    worst = max(max(seen.to_unknown_s, seen.to_unknown_by_sql_s) for seen in found.values())
    healthy = sum(seen.healthy_after_60_s for seen in found.values())
    asked = sum(seen.asked for seen in found.values())
    return [
        Figure("consumer_time_to_unknown_s", worst, "s", f"<= {BOUND_S}", worst <= BOUND_S, detail),
        Figure(
            "consumer_healthy_said_while_blind",
            healthy,
            "times",
            "== 0",
            healthy == 0 < asked,
            {"asked": asked},
        ),
    ]
