"""`steptrail export events` of ten million events to a Parquet file: how long it takes, and in how much memory."""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from bench.figure import Figure
from bench.ours import peak_rss_mb
from bench.session import Session
from bench.stack import STEPTRAIL

BOUND_S = 60
BOUND_MB = 500


def measure(session: Session) -> Figure:
    """Seconds from the command to the file; the command's peak of memory and the file's size beside it."""
    environment = {
        **session.environment(session.workspace("export")),
        "STEPTRAIL_CLICKHOUSE": f"{session.store.url}/large",
    }
    end = (session.store.last_event + timedelta(seconds=1)).isoformat()
    with tempfile.TemporaryDirectory(prefix="steptrail-export-") as folder:
        file = Path(folder) / "events.parquet"
        command = [*STEPTRAIL, "export", "events", "--since", "2000-01-01", "--until", end, "-o", str(file)]
        with (Path(folder) / "said").open("w+b") as said:
            started = time.perf_counter()
            process = subprocess.Popen(command, env=environment, stderr=said)
            peak_mb = 0.0
            while process.poll() is None:
                with suppress(OSError, ValueError):  # it has ended meanwhile
                    peak_mb = max(peak_mb, peak_rss_mb(process.pid))
                time.sleep(0.02)
            took = time.perf_counter() - started
            # 3: the tables are behind the topic, which is empty here.
            if process.returncode not in (0, 3):
                said.seek(0)
                raise RuntimeError(said.read().decode()[-2000:])
        size_mb = file.stat().st_size / 1e6
    return Figure(
        "export_s",
        took,
        "s",
        f"<= {BOUND_S}, in <= {BOUND_MB} MB",
        took <= BOUND_S and peak_mb <= BOUND_MB,
        {"events": session.store.events * 10, "peak_rss_mb": peak_mb, "file_mb": size_mb},
    )
