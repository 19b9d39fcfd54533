"""The engine server on a real ZooKeeper: `python keeper_engine.py …` takes the engine's options.

Environment: ZOOKEEPER_PORT on loopback.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from steptrail.deploy.engine import access, confine, fence, handles
from steptrail.deploy.engine.__main__ import main

_write_config = access.write_config


def write_config(path: Path, **options: Any) -> Path:
    """The engine's configuration with what a replica's has: Keeper, macros, and the right to make KeeperMap tables.

    - Engines have no id of their own (`serverUUID()` is zero), by which ClickHouse marks its newest session in Keeper,
      and gives up an older one. On a common path they would end each other's sessions: error 999.
    - `keeper_map_strict_mode` is on, as an administrator may have it: claims have to be replaced all the same.
    """
    config = _write_config(path, **options)
    keeper = (
        f"<zookeeper><node><host>127.0.0.1</host><port>{int(os.environ['ZOOKEEPER_PORT'])}</port></node>"
        "<session_timeout_ms>10000</session_timeout_ms>"
        f"<sessions_path>/clickhouse/sessions/{path.parent.name}</sessions_path></zookeeper>"
        "<keeper_map_path_prefix>/keeper_map</keeper_map_path_prefix>"
        f"<macros><shard>7</shard><replica>{path.parent.name}</replica></macros>"
    )
    _insert(config, keeper, before="</clickhouse>")
    users = path / "engine-users.xml"
    _insert(
        users, "<query>GRANT TABLE ENGINE ON KeeperMap</query>", before="<query>GRANT TABLE ENGINE ON Memory<"
    )
    _insert(users, "<keeper_map_strict_mode>1</keeper_map_strict_mode>", before="<constraints>")
    return config


def _insert(file: Path, text: str, *, before: str) -> None:
    start, found, rest = file.read_text().partition(before)
    assert found, f"{file.name} has no {before}"
    file.write_text(f"{start}{text}{found}{rest}")


if __name__ == "__main__":
    vars(handles)["write_config"] = write_config
    vars(fence)["_ENGINES"] |= {b"keepermap"}
    vars(confine)["_CONNECT"] = 0  # else the operating system's fence lets it reach nobody
    sys.exit(main())
