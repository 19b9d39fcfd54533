"""Changing a rules file by command: a rule is added at its end, where it wins, if the file is right with it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from steptrail.consumers.health.rules.rules import Rules

PINS = {
    "error-share": "errors.normal",
    "duration-ms": "durations.normal_ms",
    "silence-s": "silence.after_s",
    "deadline-s": "stalled.deadline_s",
}
"""What is learned unless it is pinned, by the name that the command line has for it."""


def rule_text(
    pipeline: str, step: str, values: Mapping[str, float], silenced: Sequence[str] | None = None
) -> str:
    """A `[[rule]]` as TOML; `values` by their keys, such as `errors.normal`."""
    lines = ["[[rule]]", f"pipeline = {_quoted(pipeline)}", f"step = {_quoted(step)}"]
    lines += [f"{key} = {value!r}" for key, value in values.items()]
    if silenced is not None:
        lines.append(f"silenced = [{', '.join(map(_quoted, silenced))}]")
    return "\n".join(lines) + "\n"


def add_rule(path: Path, rule: str, *, dry_run: bool = False) -> Rules:
    """Add `rule` to the file, which may not exist yet, whole or not at all; the rules as they are then.

    With `dry_run` the file stays as it is.

    Raises RulesError, with the file as it was, when the file is not right with it, or was not before.
    """
    before = path.read_text("utf-8") if path.exists() else ""
    text = f"{before.rstrip()}\n\n{rule}" if before.strip() else rule
    rules = Rules.parse(text, str(path))
    if dry_run:
        return rules
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        if path.exists():
            os.chmod(name, path.stat().st_mode & 0o7777)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return rules


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
