"""Blocks of a page that a program writes: what stands between `<!-- name -->` and `<!-- /name -->`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def filled(page: str, name: str, text: str) -> str:
    """`page` with `text` in the block `name`. Raises ValueError where it has no such block."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    page, replaced = marked.subn(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page)
    if not replaced:
        raise ValueError(f"the page has no <!-- {name} --> … <!-- /{name} -->")
    return page


def fill(page: str | None, name: str, text: str) -> None:
    """Put `text` into the block `name` of the file `page`; print it when there is no page."""
    if page is None:
        print(text)
        return
    path = Path(page)
    try:
        path.write_text(filled(path.read_text(encoding="utf-8"), name, text), encoding="utf-8")
    except ValueError as error:
        raise SystemExit(f"{page}: {error}") from None


def json_lines(*files: str) -> list[dict[str, Any]]:
    """The JSON lines of these files, one after the other."""
    texts = [Path(file).read_text(encoding="utf-8") for file in files]
    return [json.loads(line) for text in texts for line in text.splitlines() if line.strip()]
