"""The consumer that everyone writes, as a fair one would write it: poll, fastavro, rows, insert, commit.

One table, a plain MergeTree in the order of ours; batches of as many events as ours; the schema parsed once.
Run as a process of its own: `python -m bench.peers KAFKA TOPIC CLICKHOUSE_URL COUNT BATCH` reads `COUNT` events
and prints one JSON object, `seconds` from the first message in hand to the last commit.
"""

from __future__ import annotations

import io
import json
import sys
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

COLUMNS = {
    "event_id": "UUID",
    "pipeline": "LowCardinality(String)",
    "doc_id": "String",
    "step_name": "LowCardinality(String)",
    "execution_id": "UUID",
    "attempt": "UInt32",
    "status": "LowCardinality(String)",
    "timestamp": "DateTime64(6, 'UTC')",
    "duration_ms": "Nullable(Float64)",
    "error_type": "LowCardinality(Nullable(String))",
    "error_message": "Nullable(String)",
    "details": "String",
    "metrics": "String",
    "depends_on": "String",
    "trace_id": "Nullable(String)",
    "worker": "LowCardinality(String)",
    "emitter_id": "String",
    "sequence": "Int64",
    "kafka_partition": "Int32",
    "kafka_offset": "Int64",
}
CREATE = (
    "CREATE TABLE handwritten ("
    + ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    + ") ENGINE = MergeTree ORDER BY (pipeline, doc_id, timestamp)"
)


def consume(kafka: str, topic: str, clickhouse: str, count: int, batch: int) -> dict[str, Any]:
    """Read `count` events into the table `handwritten` of the database in the URL."""
    import clickhouse_connect
    import fastavro
    from confluent_kafka import Consumer

    from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA

    url = urlsplit(clickhouse)
    client = clickhouse_connect.get_client(
        host=url.hostname or "127.0.0.1",
        port=url.port or 8123,
        username=url.username or "default",
        password=url.password or "",
        database=url.path.strip("/"),
    )
    client.command(CREATE)
    schema = fastavro.parse_schema(STEP_EVENT_SCHEMA)
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": f"handwritten-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])

    names = list(COLUMNS)
    rows: list[list[Any]] = []
    done = 0
    inserting = 0.0
    started: float | None = None
    while done < count:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            raise RuntimeError(message.error())
        if started is None:
            started = time.perf_counter()
        value = message.value()
        assert value is not None
        event = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema)
        assert isinstance(event, dict)
        rows.append(
            [
                uuid.UUID(bytes=event["event_id"]),
                event["pipeline"],
                event["doc_id"],
                event["step_name"],
                uuid.UUID(bytes=event["execution_id"]),
                event["attempt"],
                event["status"],
                event["timestamp"],
                event["duration_ms"],
                event["error_type"],
                event["error_message"],
                event["details"],
                event["metrics"],
                event["depends_on"],
                event["trace_id"],
                event["worker"],
                event["emitter_id"].hex(),
                event["sequence"],
                message.partition(),
                message.offset(),
            ]
        )
        done += 1
        if len(rows) == batch or done == count:
            before = time.perf_counter()
            client.insert("handwritten", rows, column_names=names)
            consumer.commit(asynchronous=False)
            inserting += time.perf_counter() - before
            rows = []
    assert started is not None
    seconds = time.perf_counter() - started
    stored = client.command("SELECT count() FROM handwritten")
    consumer.close()
    return {"seconds": seconds, "events": done, "stored": stored, "insert_share": inserting / seconds}


if __name__ == "__main__":
    kafka_, topic_, clickhouse_, count_, batch_ = sys.argv[1:]
    print(json.dumps(consume(kafka_, topic_, clickhouse_, int(count_), int(batch_))))
