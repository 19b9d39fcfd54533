"""What `steptrail backup` and `steptrail restore` show, for tests to compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from steptrail.consumers.backup.catching_up import CatchUp
from steptrail.deploy.cli.commands import backup_answers
from steptrail.projections.lifecycle.backups import Backup
from steptrail.projections.lifecycle.restoring import Restorable
from steptrail.schemas.topics import Difference, TopicChange
from support.cli_screen_texts import ID, ago

TOPIC = "steptrail.steps.v1"
BACKUP = Backup(
    backup=ID,
    name="before-the-move",
    migration=22,
    positions={},
    marks={},
    version=0,
    tables={
        "steps": 48_211_003,
        "step_executions": 24_105_112,
        "dead_letters": 0,
        "projection_ledger": 81_204,
    },
    views=(),
    bytes=3_911_000_412,
    topics="{}",
    requested_by="ada@build-7",
    at=ago(days=1),
)


def show_backup() -> None:
    """A backup, the list of them with and without any, a restore that would be refused, and one that was done."""
    backup_answers.show_backup(BACKUP, Path("/home/ada/.local/share/steptrail/backups/before-the-move"))
    far = replace(BACKUP, name="S3('https://s3.example.com/bucket/monday', …)", bytes=1_204)
    found = [
        backup_answers.listed(BACKUP),
        backup_answers.listed(far),
        backup_answers.Listed("older", ago(days=9)),
    ]
    backup_answers.show_backups(found)
    backup_answers.show_backups([])
    again = [
        CatchUp("steps", TOPIC, 0, 8_000_412, 7_100_000, 8_204_311, 0, 203_899, False),
        CatchUp("steps", TOPIC, 1, 8_000_398, 8_012_398, 8_198_002, 12_000, 185_604, False),
        CatchUp("health", TOPIC, 0, 8_204_311, 7_100_000, 8_204_311, 0, 0, False),
        CatchUp("dead_letters", f"{TOPIC}.dlq", 0, 214, 0, 12, 0, 0, True),
    ]
    topics = [
        TopicChange(TOPIC, "drifted", (Difference("retention.ms", "2592000000", "604800000"),)),
        TopicChange("steptrail.silences.v1", "created"),
    ]
    in_the_way = Restorable(BACKUP, {"steps": 12, "projection_ledger": 3})
    backup_answers.show_restore(in_the_way, again, ["steptrail-projector"], topics, dry_run=True)
    backup_answers.show_restore(Restorable(BACKUP, {}), again[:1], [], topics, dry_run=False)
