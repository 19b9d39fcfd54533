"""Write the dashboards: `.venv/bin/python deploy/grafana/write.py`. A test compares the files with what this makes."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.errors import errors
from grafana.operations import operations
from grafana.overview import overview
from grafana.step import step

FOLDER = Path(__file__).with_name("dashboards")


def dashboards() -> dict[str, str]:
    """Each file's text, by its name."""
    made = {"overview": overview(), "step": step(), "errors": errors(), "operations": operations()}
    return {
        f"{name}.json": json.dumps(
            board.build(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False
        )
        + "\n"
        for name, board in made.items()
    }


if __name__ == "__main__":
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text, "utf-8")
