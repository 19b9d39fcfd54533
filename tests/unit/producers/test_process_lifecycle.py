"""What an interpreter's end does with producers."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from steptrail.producers.delivery import process_lifecycle

class Producer:
    def __del__(self):
        print("destroyed", flush=True)

process_lifecycle.keep(Producer())
released = Producer()
process_lifecycle.keep(released)
process_lifecycle.release(released)
del released
print("ends", flush=True)
"""


def test_a_producer_that_is_still_in_use_is_not_destroyed_at_the_end() -> None:
    """Destroying one in whose librdkafka a poll thread still is would abort the process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines() == ["destroyed", "ends"]
