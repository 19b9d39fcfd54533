"""The engine server with a ZooKeeper, on ZOOKEEPER_PORT: `python keeper_engine.py …` takes the engine's options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from steptrail.deploy.engine import access, confine, fence, handles
from steptrail.deploy.engine.__main__ import main

_write_config = access.write_config


def write_config(path: Path, **options: Any) -> Path:
    """The engine's configuration, with Keeper, a replica's macros and the right to make KeeperMap tables."""
    config = _write_config(path, **options)
    keeper = (
        f"<zookeeper><node><host>127.0.0.1</host><port>{int(os.environ['ZOOKEEPER_PORT'])}</port></node>"
        "<session_timeout_ms>10000</session_timeout_ms></zookeeper>"
        "<keeper_map_path_prefix>/keeper_map</keeper_map_path_prefix>"
        f"<macros><shard>0</shard><replica>{path.parent.name}</replica></macros>"
    )
    config.write_text(config.read_text().replace("</clickhouse>", f"{keeper}</clickhouse>"))
    users = path / "engine-users.xml"
    users.write_text(
        users.read_text().replace(
            "<query>GRANT TABLE ENGINE ON Memory</query>",
            "<query>GRANT TABLE ENGINE ON Memory</query><query>GRANT TABLE ENGINE ON KeeperMap</query>",
        )
    )
    return config


if __name__ == "__main__":
    vars(handles)["write_config"] = write_config
    vars(fence)["_ENGINES"] |= {b"keepermap"}
    vars(confine)["_CONNECT"] = 0  # else the operating system's fence lets it reach nobody
    sys.exit(main())
