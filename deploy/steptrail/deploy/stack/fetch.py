"""Put the broker's jars into the user's cache: ``python -m steptrail.deploy.stack.fetch``."""

from __future__ import annotations

import sys

from steptrail.deploy.stack.jars import ensure_jars
from steptrail.schemas.errors import SteptrailError


def main() -> int:
    """Fetch what is missing and verify all; 1 with a message when that fails."""
    try:
        ensure_jars(say=lambda text: print(f"steptrail: {text}", flush=True))
    except SteptrailError as fault:
        print(f"steptrail: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
