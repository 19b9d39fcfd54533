"""What is generated in the chart: the table of values in its README, and the settings in its values.schema.json.

`python tests/docs/chart.py` writes both: the table from the comments of values.yaml, the settings from the model.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.configuration.settings_names import ENV_PREFIX

CHART = Path(__file__).parents[2] / "deploy" / "chart"
BEGIN, END = "<!-- values -->", "<!-- /values -->"

# What the chart sets by values of its own, and what makes no sense in a pod of several, which cannot write.
_BY_VALUES = re.compile(
    r"kafka(_.*)?|clickhouse(_.*)?|schema_registry(_user|_password|_ca)?|topic_prefix|shutdown_timeout_s"
    r"|metrics_(host|port)|alerts_file|health_rules|web_(host|port|tokens|names|proxy_.*)|steps_partitions"
    r"|replication_factor|(dlq_)?retention_ms|group_instance_id|journal_.*|spool_.*"
)


def chosen_settings() -> dict[str, Any]:
    """The settings that `settings` takes, by variable: what JSON Schema says of each."""
    properties = Settings.model_json_schema()["properties"]
    return {
        ENV_PREFIX + name.upper(): _plain(properties[name])
        for name in sorted(Settings.model_fields)
        if not _BY_VALUES.fullmatch(name) and "writeOnly" not in json.dumps(properties[name])  # a secret
    }


def _plain(said: dict[str, Any]) -> dict[str, Any]:
    """Without what is for Python: alternatives with null, defaults, titles. Numbers may be written as texts."""
    for choice in said.get("anyOf", ()):
        if choice.get("type") != "null":
            said = {**said, **choice}
    kept: dict[str, Any] = {
        key: said[key]
        for key in (
            "type",
            "enum",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "minLength",
            "maxLength",
            "pattern",
        )
        if key in said
    }
    if kept.get("type") != "string" and "enum" not in kept:
        kept["type"] = [kept["type"], "string"]
    return {"description": said["description"], **kept}


def schema() -> str:
    """values.schema.json with the settings of this version."""
    path = CHART / "values.schema.json"
    found = json.loads(path.read_text("utf-8"))
    found["definitions"]["settings"]["properties"] = chosen_settings()
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def documented() -> dict[str, str]:
    """Each value that values.yaml describes, by its dotted path, with the description."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    said: list[str] = []
    for line in (CHART / "values.yaml").read_text("utf-8").splitlines():
        if (comment := re.match(r" *# -- (.*)", line)) is not None:
            said = [comment[1]]
        elif (key := re.match(r"( *)([A-Za-z]+):", line)) is not None:
            depth = len(key[1])
            path = [(at, name) for at, name in path if at < depth] + [(depth, key[2])]
            if said:
                found[".".join(name for _, name in path)] = said[0]
                said = []
    return found


def table() -> str:
    """The values as a table in Markdown."""
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for path, meaning in documented().items():
        default = values
        for name in path.split("."):
            default = default[name]
        shown = json.dumps(default, ensure_ascii=False)
        if isinstance(default, str) and "\n" in default:
            shown = "a file without targets"
        lines.append(f"| `{path}` | {'' if default in ('', [], {}) else f'`{shown}`'} | {meaning} |")
    return "\n".join(lines)


def readme() -> str:
    """README.md with the table of the values that there are."""
    text = (CHART / "README.md").read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(schema(), "utf-8")
    (CHART / "README.md").write_text(readme(), "utf-8")
