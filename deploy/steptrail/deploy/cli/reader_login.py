"""Who asks when people ask: on the local stack its user `reader`, elsewhere the settings' user, kept from writing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steptrail.schemas.configuration.clickhouse_target import ClickHouseTarget
    from steptrail.schemas.configuration.settings import Settings

USER = "reader"


def reader_of(settings: Settings) -> ClickHouseTarget | None:
    """The local stack's store as its user `reader`; None where the settings lead elsewhere, or it has no such user."""
    from steptrail.deploy.stack.folder import StackFolder
    from steptrail.schemas.configuration.clickhouse_target import parse_clickhouse_url
    from steptrail.schemas.configuration.stack_file import read_stack_file

    stack, target = read_stack_file(), settings.clickhouse_target()
    if stack is None or target != parse_clickhouse_url(stack.clickhouse):
        return None
    try:
        password = StackFolder(stack.dir).reader_password_file.read_text(encoding="utf-8").strip()
    except OSError:  # a stack that was started by an earlier version
        return None
    return replace(target, username=USER, password=password)


def login_for_reading(settings: Settings) -> tuple[ClickHouseTarget, dict[str, Any]]:
    """Where to ask, and the settings that keep a statement there from writing."""
    reader = reader_of(settings)
    return (settings.clickhouse_target(), {"readonly": 2}) if reader is None else (reader, {})
