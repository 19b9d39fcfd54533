"""What all tests share: the fixtures of the real stack, and the line that says how many tests ran on it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from support.stack import CHOSEN, planned_kind, stack, workspace

__all__ = ["stack", "workspace"]

# Fixtures that put a real Kafka under a test: the shared stack, or one that the test starts itself.
_REAL_KAFKA = {"stack", "own_stack", "used_folder"}
_ran: set[str] = set()


def pytest_report_header() -> str:
    """Say which stack the integration tests would use."""
    said = {
        "environment": "the addresses in STEPTRAIL_KAFKA and STEPTRAIL_CLICKHOUSE",
        "docker": "containers (a Docker engine answers), else the local stack",
        "local": "the local stack (no addresses in the environment, no Docker engine)",
    }
    return f"integration tests: {said[planned_kind()]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count the tests whose body ran on a real Kafka."""
    if call.when == "call" and _REAL_KAFKA & set(getattr(item, "fixturenames", ())):
        _ran.add(item.nodeid)
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many there were."""
    kind = config.stash.get(CHOSEN, None)
    where = f" ({kind} stack)" if kind else ""
    terminalreporter.write_line(f"integration tests that ran on real Kafka: {len(_ran)}{where}")
