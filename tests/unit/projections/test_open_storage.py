"""open_storage where not everything is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from steptrail.projections import open_storage
from steptrail.schemas.errors import ConfigurationError

WITHOUT_CLIENT = """
import sys
sys.modules["clickhouse_connect"] = None
from steptrail.projections import open_storage
from steptrail.schemas.errors import ConfigurationError
storage = open_storage(kafka="127.0.0.1:9", clickhouse="http://127.0.0.1:9/x")
try:
    storage.get_steps("d")
except ConfigurationError as error:
    print(error)
storage.close(0)
"""


def test_reading_without_the_client_says_what_to_install() -> None:
    """A worker's installation can open the storage; its first read names the extra that is missing."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CLIENT], capture_output=True, text=True, timeout=300, check=True
    )
    assert "pip install 'steptrail[clickhouse]'" in done.stdout


def test_nothing_is_connected_at_first() -> None:
    """With nobody listening opening and closing succeed, and the client of ClickHouse is not even imported."""
    script = (
        "import sys; from steptrail.projections import open_storage; "
        "open_storage(kafka='127.0.0.1:9', clickhouse='http://127.0.0.1:9/x', pipeline='ocr').close(0); "
        "print('clickhouse_connect' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "False\n"


def test_arguments_override() -> None:
    """The pipeline and any setting can be given by name; a wrong one is named."""
    with open_storage(kafka="127.0.0.1:9", pipeline="ocr") as storage:
        assert storage.pipeline == "ocr"
    with pytest.raises(
        ConfigurationError, match=r"kafka_adress: there is no such setting; did you mean kafka\b"
    ):
        open_storage(kafka_adress="127.0.0.1:9")  # type: ignore[call-arg]
