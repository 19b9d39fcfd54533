"""What all tests share: the fixtures of the real stack, and the line that says how many tests ran on it."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from support.cluster.fixtures import cluster
from support.effort import ONLY_IN_TEST_ALL, THOROUGH
from support.stack import CHOSEN, planned_kind, stack, topics_only, workspace

__all__ = ["cluster", "stack", "topics_only", "workspace"]

# Fixtures that put a real Kafka under a test: the shared stack, or one that the test starts itself.
_REAL_KAFKA = {"cluster", "stack", "own_stack", "used_folder"}
_KIND = "real Kafka"
_ran: dict[str, str] = {}


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Consumers and shells keep what they remember in a folder of this run."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


def pytest_report_header() -> str:
    """Say which stack the integration tests would use."""
    said = {
        "environment": "the addresses in STEPTRAIL_KAFKA and STEPTRAIL_CLICKHOUSE",
        "docker": "containers (a Docker engine answers), else the local stack",
        "local": "the local stack (no addresses in the environment, no Docker engine)",
    }
    left_out = "" if THOROUGH else "; not those that take long (STEPTRAIL_TEST_THOROUGH=1 runs them, too)"
    return f"integration tests: {said[planned_kind()]}{left_out}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `make test-all` runs."""
    if THOROUGH:
        return
    left_out = [item for item in items if item.get_closest_marker(ONLY_IN_TEST_ALL.name)]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker(ONLY_IN_TEST_ALL.name)]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mark the tests whose body ran on a real Kafka; a property of the report reaches us from other processes, too."""
    report = yield
    # What a test logs may hold lone surrogates on purpose; a report of them could not be sent between processes.
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    if call.when == "call" and _REAL_KAFKA & set(getattr(item, "fixturenames", ())):
        report.user_properties.append((_KIND, item.config.stash.get(CHOSEN, "own")))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count them."""
    for name, kind in report.user_properties:
        if name == _KIND:
            _ran[report.nodeid] = str(kind)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many there were."""
    kinds = sorted(set(_ran.values()) - {"own"})
    where = f" ({', '.join(kinds)} stack)" if kinds else ""
    terminalreporter.write_line(f"integration tests that ran on real Kafka: {len(_ran)}{where}")
