"""Settings of every layout, with servers that nobody asks."""

from __future__ import annotations

from steptrail.schemas.configuration.settings import Settings

_READING = "http://reader:geheim@ch-0:8123/steptrail"
_SERVER = "http://writer:geheim2@ch-{}:8123/steptrail_local"


def _servers(*shards: int) -> str:
    number = 0
    texts = []
    for replicas in shards:
        texts.append("|".join(_SERVER.format(number + position) for position in range(replicas)))
        number += replicas
    return ",".join(texts)


LAYOUTS = {
    "single": Settings(kafka="k:1", clickhouse=_READING),
    "replicated": Settings(
        kafka="k:1", clickhouse=_READING, clickhouse_layout="replicated", clickhouse_servers=_servers(3)
    ),
    "sharded": Settings(
        kafka="k:1", clickhouse=_READING, clickhouse_layout="sharded", clickhouse_servers=_servers(1, 1)
    ),
    "sharded_replicated": Settings(
        kafka="k:1",
        clickhouse=_READING,
        clickhouse_layout="sharded_replicated",
        clickhouse_servers=_servers(2, 2),
    ),
}
