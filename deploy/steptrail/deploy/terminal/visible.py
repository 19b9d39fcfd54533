"""Text from outside, made safe to show: `steptrail.schemas.values.visible`, loaded at the first use, not for --help."""

from __future__ import annotations


def is_visible(text: str) -> bool:
    """See `steptrail.schemas.values.visible.is_visible`."""
    from steptrail.schemas.values import visible as home

    return home.is_visible(text)


def visible(text: str, *, keep: str = "") -> str:
    """See `steptrail.schemas.values.visible.visible`."""
    from steptrail.schemas.values import visible as home

    return home.visible(text, keep=keep)


def distinct(text: str) -> str:
    """See `steptrail.schemas.values.visible.distinct`."""
    from steptrail.schemas.values import visible as home

    return home.distinct(text)


def visible_json(document: str) -> str:
    """See `steptrail.schemas.values.visible.visible_json`."""
    from steptrail.schemas.values import visible as home

    return home.visible_json(document)
