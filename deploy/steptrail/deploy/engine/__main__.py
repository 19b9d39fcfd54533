"""`python -m steptrail.deploy.engine`: the ClickHouse engine behind HTTP, on this machine's loopback."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from steptrail.deploy.engine.reader import Limits, share_of_memory
from steptrail.deploy.engine.serve import Options, serve
from steptrail.schemas import ConfigurationError

_EPILOG = """
The server speaks ClickHouse's HTTP interface for the engine (chDB) on one directory. It prints one line of JSON
when it is ready, with its url, port and pid. The user is `default`; the password is in --password-file.

  python -m steptrail.deploy.engine --path ./data --port 8123 --password-file ./password
  curl -u default:$(cat ./password) 'http://127.0.0.1:8123/?query=SELECT+version()'
  python -c "import clickhouse_connect as c; print(c.get_client(host='127.0.0.1', port=8123,
      password=open('password').read().strip()).query('SELECT 1').result_rows)"

SIGTERM drains and closes; a second one hurries. Exit code 2: it could not start, and the reason is on stderr.
"""


_READER_LIMITS = (
    ("seconds", Limits.seconds, "SECONDS", "of time for a reader's statement (default: %(default)s)"),
    (
        "memory",
        None,
        "BYTES",
        "of memory (default: at most 1 GiB; readers together half of what statements may have)",
    ),
    ("rows", Limits.rows, "ROWS", "of its answer (default: %(default)s)"),
    ("queries", Limits.at_once, "N", "of readers' statements at once (default: %(default)s)"),
)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m steptrail.deploy.engine",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--path", type=Path, required=True, help="the data's directory; made if absent")
    parser.add_argument(
        "--password-file",
        type=Path,
        required=True,
        help="holds the password; written, for its owner only, if absent",
    )
    parser.add_argument(
        "--reader-password-file",
        type=Path,
        help="the same for the user `reader`, who only reads; without it there is none",
    )
    parser.add_argument(
        "--backups",
        type=Path,
        metavar="DIR",
        help="folder of the disk `backups`, for BACKUP and RESTORE; without it there are none",
    )
    for name, default, unit, meaning in _READER_LIMITS:
        parser.add_argument(
            f"--reader-{name}",
            type=int,
            default=default,
            metavar=unit,
            help=meaning,
        )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--database", default="steptrail", help="created if absent (default: %(default)s)")
    parser.add_argument(
        "--max-body", type=int, default=1 << 30, metavar="BYTES", help="largest decoded body (default: 1 GiB)"
    )
    parser.add_argument(
        "--max-queries", type=int, default=100, metavar="N", help="statements at once (default: %(default)s)"
    )
    parser.add_argument(
        "--keep-free",
        type=int,
        default=256 << 20,
        metavar="BYTES",
        help="of the disk; inserts and merges that would take more are refused (default: 256 MiB)",
    )
    parser.add_argument(
        "--memory-ratio",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="of the machine's memory that statements may take together (default: %(default)s)",
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="what runs at SIGTERM may end (default: 3)",
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        serve(
            Options(
                path=given.path,
                password_file=given.password_file,
                host=given.host,
                port=given.port,
                database=given.database,
                max_body=given.max_body,
                max_queries=given.max_queries,
                drain_s=given.drain,
                keep_free=given.keep_free,
                memory_ratio=given.memory_ratio,
                reader_password_file=given.reader_password_file,
                backups=given.backups,
                reader_limits=Limits(
                    seconds=given.reader_seconds,
                    memory=given.reader_memory or share_of_memory(given.memory_ratio, given.reader_queries),
                    rows=given.reader_rows,
                    at_once=given.reader_queries,
                ),
            )
        )
    except ConfigurationError as error:
        sys.stderr.write(f"steptrail engine: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
