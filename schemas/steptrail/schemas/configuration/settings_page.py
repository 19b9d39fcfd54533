"""Generates the page of all settings from the model: `python -m steptrail.schemas.configuration.settings_page`.

It prints Markdown; `docs/settings.md` is that text.
"""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.configuration.settings_names import ENV_PREFIX, OTHER_VARIABLES

_INTRODUCTION = """# Settings

Every setting is an environment variable, `STEPTRAIL_` and its name, and a keyword of
`steptrail.schemas.Settings`. A keyword wins over the variable, and the variable over the local stack: when
`steptrail up` runs, `STEPTRAIL_KAFKA` and `STEPTRAIL_CLICKHOUSE` need not be set. An empty variable counts as
unset. A value that cannot be is refused with the variable's name. A variable that begins with `STEPTRAIL_` and is no
setting is logged once; one that looks like an address which is not set, such as `STEPTRAIL_KAKFA`, is refused.

Secrets are marked. They appear in no log, no error and no `--json` output, save the line that
`steptrail up --json` prints when it is ready.

This page is made from the model: `python -m steptrail.schemas.configuration.settings_page > docs/settings.md`.
"""

_SECTIONS = (
    ("Kafka", "kafka"),
    ("ClickHouse", "clickhouse"),
    ("Schema registry", "schema_registry"),
    ("Names", "pipeline"),
    ("Topics", "steps_partitions"),
    ("Limits of an event", "max_event_bytes"),
    ("Emission", "queue_max_messages"),
    ("Consumers", "batch_max_events"),
    ("HTTP API", "web_host"),
)
"""Title of each section, and the field that it starts with."""


def settings_page() -> str:
    """The page as Markdown: a table of variables for each section."""
    lines = [_INTRODUCTION]
    starts = {field: title for title, field in _SECTIONS}
    for name, field in Settings.model_fields.items():
        if name in starts:
            lines += ["", f"## {starts[name]}", "", *_HEAD]
        lines.append(_row(ENV_PREFIX + name.upper(), _kind(field), _default(field), field.description or ""))
    lines += ["", "## Read elsewhere", "", "| variable | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in OTHER_VARIABLES.items()]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


_HEAD = ("| variable | type | default | meaning |", "|---|---|---|---|")


def _row(variable: str, kind: str, default: str, meaning: str) -> str:
    return f"| `{variable}` | {kind} | {default} | {meaning} |"


def _kind(field: FieldInfo) -> str:
    return " or ".join(_kind_names(field.annotation))


def _kind_names(annotation: Any) -> list[str]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [name for part in get_args(annotation) for name in _kind_names(part) if part is not type(None)]
    if hasattr(annotation, "__metadata__"):
        return _kind_names(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return [f"`{value}`" for value in get_args(annotation)]
    if get_origin(annotation) is dict:
        return ["properties, secret"]
    return {SecretStr: ["text, secret"], str: ["text"], bool: ["true or false"]}.get(
        annotation, {int: ["whole number"], float: ["number"]}.get(annotation, [str(annotation)])
    )


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == {}:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(settings_page(), end="")
