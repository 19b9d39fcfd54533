"""What `steptrail rebuild` and its commands show, for tests to compare."""

from __future__ import annotations

from dataclasses import replace

from steptrail.consumers.rebuild.rebuilding import Plan, RebuildPartition, RebuildProgress
from steptrail.deploy.cli.commands import rebuild_answers
from steptrail.projections.lifecycle.rebuild_diff import Diff, Difference, Example
from steptrail.projections.lifecycle.rebuilds import Rebuild, RebuildState
from steptrail.projections.lifecycle.shadow_tables import Side
from support.cli_screen_texts import ID, SCAN, ago


def show_rebuild() -> None:
    """A plan, a rebuild under way, an exchanged one, what differs, and what is shown without one."""
    one = Rebuild(
        ID,
        "steptrail.steps.v1",
        "topic",
        "ada@build-7",
        ("invoices", "letters"),
        ago(days=7),
        {0: 1_204_311, 1: 1_198_002},
        state=RebuildState.COPIED,
    )
    partitions = (
        RebuildPartition(0, 1_204_311, 8_000_412, 48_211_003, 48_211_010),
        RebuildPartition(1, 1_198_002, 48_190_447, 48_190_447, 48_190_447),
    )
    rebuild_answers.show_plan(Plan(one, 93_999_144, 2_402_313, 2_402_313, 8_211_000_412))
    rebuild_answers.show_progress(RebuildProgress(one, Side.NEW, partitions, 121_304.2))
    done = replace(one, state=RebuildState.EXCHANGED, pipelines=(), since=None)
    rebuild_answers.show_progress(RebuildProgress(done, Side.OLD, partitions, None))
    differs = (
        Difference("2026-05-03", "invoices", "ERROR", 1_284, 1_281, 4, 1, 0),
        Difference("2026-05-04", "letters", "SUCCESS", 48_211_003, 48_211_003, 0, 0, 2),
    )
    expired = "only in the live table: it has expired from the topic"
    changed = "changed: details; written by another version, or altered"
    examples = (
        Example("invoices", SCAN, "ocr", "ERROR", str(ID), 3, 4_711, expired),
        Example("letters", "letter-9", "parse", "SUCCESS", str(ID), 3, 4_711, changed),
    )
    rebuild_answers.show_diff(Diff(48_212_287, differs, examples), "new")
    rebuild_answers.show_diff(Diff(48_212_287, (), ()), "new")
    rebuild_answers.show_progress(None)
