"""The stack's setup part: migrations and topics, in parallel, once the supervisor reports both servers ready.

``python -m steptrail.deploy.stack.setup``, with the stack's addresses in the environment.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from steptrail.deploy.stack.folder import StackFolder, read_json
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas.configuration.settings import Settings, default_dir
from steptrail.schemas.errors import InfrastructureError, SteptrailError
from steptrail.schemas.topics import ensure_topics
from steptrail.schemas.wire.schema_topic import publish_schema

PATIENCE_S = 60.0
"""How long a server that was reported ready may still refuse."""


def main() -> int:
    """Wait for each server and prepare it; 1, with the reason on standard error, when that fails."""
    settings = Settings()
    folder = StackFolder(default_dir())
    with ThreadPoolExecutor(2) as pool:
        tables = pool.submit(_once_ready, folder, "engine", lambda: _migrate(settings))
        topics = pool.submit(_once_ready, folder, "broker", lambda: _topics(settings))
        try:
            tables.result()
            topics.result()
        except SteptrailError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
    return 0


def _once_ready(folder: StackFolder, part: str, work: Callable[[], None]) -> None:
    # The supervisor kills this process if it gives up, so waiting needs no end of its own.
    while not any(told["name"] == part and told["state"] == "ready" for told in _parts(folder)):
        time.sleep(0.02)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            work()
        except InfrastructureError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _parts(folder: StackFolder) -> list[dict[str, str]]:
    told = read_json(folder.status_file).get("parts")
    return told if isinstance(told, list) else []


def _migrate(settings: Settings) -> None:
    with connect(settings) as clickhouse:
        for applied in migrate(clickhouse):
            print(f"migration {applied.version:04d}_{applied.name} applied")


def _topics(settings: Settings) -> None:
    for change in ensure_topics(settings):
        print(change)
    publish_schema(settings)


if __name__ == "__main__":
    sys.exit(main())
