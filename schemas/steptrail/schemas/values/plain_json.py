"""A cheap check for values that are plain JSON and may fit, so that orjson can write them directly."""

from __future__ import annotations

from typing import Any, Final

import orjson

from steptrail.schemas.foreign import let_through

MAX_DEPTH: Final = 100
"""Containers within each other; readers take more, and Python's recursion ends far beyond."""

NATIVE_ONLY: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def plain_text(container: Any, room: int) -> tuple[bytes | None, int]:
    """The text of an exact dict, list or tuple if it needs no alteration and fits into `room` bytes, otherwise None;
    and the number of bytes examined in vain.
    """
    try:
        left = room_after(container, room)
        if left < 0:
            return None, room - ~left
        text = orjson.dumps(container, None, NATIVE_ONLY)
    except Exception as error:
        let_through(error)
        return None, room
    return (text, 0) if len(text) <= room and text.find(b"\\u0000") < 0 else (None, room)


def room_after(container: Any, room: int) -> int:
    """An upper bound of what is left of `room` bytes after writing a container. If it does not fit, or contains a value
    that orjson does not write unchanged: `~` of what was left by then, which is negative.
    """
    level: list[Any] = [container]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            room -= 2 * len(container) + 2
            if room < 0:
                return ~max(room, 0)
            if type(container) is dict:
                for key in container:
                    room -= len(key) + 2
                container = container.values()
            for item in container:
                kind = type(item)
                if kind is str:
                    room -= len(item)
                elif kind is float:
                    if item - item:
                        return ~max(room, 0)
                elif kind is list or kind is dict or kind is tuple:
                    below.append(item)
                elif kind is not int and kind is not bool and item is not None:
                    return ~max(room, 0)
        if not below:
            return room
        level = below
    return ~max(room, 0)
