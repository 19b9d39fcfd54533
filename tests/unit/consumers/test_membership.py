"""A member's own name: one process at a time has it, and the next one after it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from steptrail.consumers.kafka import membership
from steptrail.consumers.kafka.membership import Membership
from steptrail.schemas.configuration.settings import Settings

GROUP = "steptrail-projector"
HOLD = """
import sys
from steptrail.consumers.kafka.membership import Membership
from steptrail.schemas.configuration.settings import Settings
with Membership.of(Settings(kafka="k:1"), "steptrail-projector") as member:
    print(member.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "steptrail" / "members"


def settings(**more: str) -> Settings:
    return Settings(kafka="k:1", **more)  # type: ignore[arg-type]


def fenced(
    code: int = KafkaError.FENCED_INSTANCE_ID, text: str = "fenced", fatal: bool = True
) -> KafkaException:
    return KafkaException(KafkaError(code, text, fatal=fatal))


def test_members_at_the_same_time_have_different_names() -> None:
    """Also of one process: a file is locked by whoever opened it."""
    with Membership.of(settings(), GROUP) as one, Membership.of(settings(), GROUP) as two:
        assert one.name
        assert two.name
        assert one.name != two.name


def test_a_successor_has_the_name_of_who_stopped() -> None:
    """In the order in which names become free."""
    with Membership.of(settings(), GROUP) as one:
        first = one.name
        with Membership.of(settings(), GROUP) as two:
            second = two.name
    with Membership.of(settings(), GROUP) as again, Membership.of(settings(), GROUP) as another:
        assert (again.name, another.name) == (first, second)


def test_a_successor_has_the_name_of_who_was_killed() -> None:
    """The kernel frees the lock, whatever ended the process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        with Membership.of(settings(), GROUP) as other:
            assert other.name not in (None, name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Membership.of(settings(), GROUP) as successor:
            assert successor.name == name


@pytest.mark.parametrize(("kafka", "group"), [("other:1", GROUP), ("k:1", "steptrail-health")])
def test_other_brokers_and_groups_have_other_names(kafka: str, group: str) -> None:
    """A name is free in one group while it is held in another, so they are kept apart."""
    with Membership.of(settings(), GROUP) as one:
        first = one.name
    with Membership.of(Settings(kafka=kafka), group) as other:
        assert other.name != first


def test_a_given_name_is_kept_and_stays_in_the_group(state: Path) -> None:
    """Static membership as the user asked for it: no file, and no leaving."""
    with Membership.of(settings(group_instance_id="projector-0"), GROUP) as member:
        assert (member.name, member.leaves) == ("projector-0", False)
        assert not member.renewed("projector-0", fenced())
    with Membership.of(settings(kafka_options='{"group.instance.id": "mine"}'), GROUP) as member:
        assert (member.name, member.leaves) == (None, False)
    assert not state.exists()


def test_where_no_file_can_be_kept_a_member_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It joins as a dynamic member."""
    occupied = tmp_path / "file"
    occupied.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(occupied))
    with Membership.of(settings(), GROUP) as member:
        assert (member.name, member.leaves) == (None, True)
        assert not member.renewed(None, fenced())


def test_more_members_than_files_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest join as dynamic members."""
    monkeypatch.setattr(membership, "MOST_MEMBERS", 1)
    with Membership.of(settings(), GROUP) as one, Membership.of(settings(), GROUP) as two:
        assert one.name
        assert two.name is None


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"no name", b"x" * 1000])
def test_a_damaged_file_gets_a_new_name(state: Path, text: bytes) -> None:
    """What a crash of the machine left."""
    with Membership.of(settings(), GROUP) as member:
        first = member.name
    [file] = state.iterdir()
    file.write_bytes(text)
    with Membership.of(settings(), GROUP) as member:
        assert member.name not in (None, first)
        renewed = member.name
    with Membership.of(settings(), GROUP) as member:
        assert member.name == renewed


@pytest.mark.parametrize(
    "error",
    [
        fenced(),
        fenced(KafkaError._FATAL, "Fatal error: Broker: Static consumer fenced by other consumer"),
        fenced(
            KafkaError._FATAL, "Fatal error: Broker: Static consumer fenced by other consumer", fatal=False
        ),
    ],
)
def test_a_fenced_member_takes_a_new_name(error: KafkaException) -> None:
    """Once, however many of its consumers are fenced; its successor has the new one."""
    with Membership.of(settings(), GROUP) as member:
        old = member.name
        assert member.renewed(old, error)
        new = member.name
        assert new not in (None, old)
        assert member.renewed(old, error)
        assert member.name == new
    with Membership.of(settings(), GROUP) as member:
        assert member.name == new


@pytest.mark.parametrize(
    "error",
    [fenced(KafkaError._FATAL, "Fatal error: something else"), KafkaException("text"), ValueError("fenced")],
)
def test_other_errors_are_no_fencing(error: Exception) -> None:
    """They end the member."""
    with Membership.of(settings(), GROUP) as member:
        name = member.name
        assert not member.renewed(name, error)
        assert member.name == name
