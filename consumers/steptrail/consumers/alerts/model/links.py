"""Links in alerts: addresses below the one in the settings."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from steptrail.consumers.alerts.model.alert import ERROR_GROUP
from steptrail.consumers.alerts.model.levels import Level

MOST_CHARACTERS = 500
"""A link that would be longer leads to what is around."""


def linking(base: str | None) -> Callable[[Level], str]:
    """Return a function for links below `base`; without it, every link is "".

    `/` for everything, `/pipelines/<p>`, `/pipelines/<p>/steps/<s>`, `/errors/<group>`; names are percent-encoded.
    """
    root = (base or "").rstrip("/")

    def link(level: Level) -> str:
        if not root:
            return ""
        found = [f"{root}/"]
        if level.pipeline:
            found.append(f"{root}/pipelines/{_part(level.pipeline)}")
            if level.step:
                found.append(f"{found[-1]}/steps/{_part(level.step)}")
        if level.kind == ERROR_GROUP:
            found.append(f"{root}/errors/{_part(level.subject)}")
        return next((each for each in reversed(found) if len(each) <= MOST_CHARACTERS), "")

    return link


def _part(name: str) -> str:
    # "." and ".." would mean the folder and its parent.
    return quote(name, safe="", errors="replace") if name.strip(".") else name.replace(".", "%2E")
