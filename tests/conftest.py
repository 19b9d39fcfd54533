"""What all tests share: the fixtures of the real stack, and the line that says how many tests ran on it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from support.stack import CHOSEN, planned_kind, stack, workspace

__all__ = ["stack", "workspace"]

# Fixtures that put a real Kafka under a test: the shared stack, or one that the test starts itself.
_REAL_KAFKA = {"stack", "own_stack", "used_folder"}
_ON_KAFKA = "ran on a real Kafka"
# These start stacks of their own on the ports that people expect, and two at a time could choose the same.
_OWN_STACKS = (
    "tests/docs/",
    "tests/integration/test_demo",
    "tests/integration/test_stack",
    "tests/integration/test_wheel",
)
_ran: set[str] = set()
_kinds: set[str] = set()


def pytest_report_header() -> str:
    """Say which stack the integration tests would use."""
    said = {
        "environment": "the addresses in STEPTRAIL_KAFKA and STEPTRAIL_CLICKHOUSE",
        "docker": "containers (a Docker engine answers), else the local stack",
        "local": "the local stack (no addresses in the environment, no Docker engine)",
    }
    return f"integration tests: {said[planned_kind()]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes (`-n`) each has a stack of its own, and a file's tests stay in one."""
    for item in items:
        path = item.path.relative_to(item.config.rootpath).as_posix()
        item.add_marker(pytest.mark.xdist_group("own stacks" if path.startswith(_OWN_STACKS) else path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note of a test whose body ran on a real Kafka that it did, and whose that was."""
    report = yield
    if call.when == "call" and _REAL_KAFKA & set(getattr(item, "fixturenames", ())):
        report.user_properties.append((_ON_KAFKA, item.config.stash.get(CHOSEN, "its own")))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count these, whichever process ran them."""
    for name, kind in report.user_properties:
        if name == _ON_KAFKA:
            _ran.add(report.nodeid)
            _kinds.add(str(kind))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many there were."""
    where = f" ({', '.join(sorted(_kinds))} stack)" if _kinds else ""
    terminalreporter.write_line(f"integration tests that ran on real Kafka: {len(_ran)}{where}")
