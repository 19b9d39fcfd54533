"""Where a backup is: names and ClickHouse's targets, without their keys."""

from __future__ import annotations

import pytest

from steptrail.projections.lifecycle.backups import BackupRefused, Target

S3 = "S3('https://me:pw@s3.example.com/bucket/x?X-Amz-Signature=abc', 'AKIA123', 'top/secret')"


@pytest.mark.parametrize(
    ("given", "sql"),
    [
        ("monday", "Disk('backups', 'monday')"),
        ("2026-11-30T10.15", "Disk('backups', '2026-11-30T10.15')"),
        ("Disk('far', 'x')", "Disk('far', 'x')"),
        (S3, S3),
    ],
)
def test_a_name_is_on_the_disk_for_backups_and_targets_are_passed_on(given: str, sql: str) -> None:
    """As BACKUP takes them."""
    assert Target(given).sql == sql


@pytest.mark.parametrize(
    "given", ["", "../x", "a/b", "x'y", "URL('http://x')", "Memory('x')", "monday; DROP", ".x"]
)
def test_anything_else_is_refused(given: str) -> None:
    """With what may be given."""
    with pytest.raises(BackupRefused, match="is no place") as refused:
        Target(given)
    assert "S3(" in refused.value.hint


def test_keys_are_never_shown() -> None:
    """Not in the name that is stored, not in an error that quotes the target or a part of it."""
    target = Target(S3)
    assert target.shown == "S3('https://s3.example.com/bucket/x', …)"
    said = target.without_secrets(f"cannot write to {S3}: key AKIA123 with top/secret is unknown")
    assert not {"AKIA123", "top/secret", "abc", "pw@"} & set(said.replace("/x", " ").split())
    for secret in ("AKIA123", "top/secret", "Signature", "pw@"):
        assert secret not in said
