"""Where settings come from besides arguments: the environment, then the running local stack."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SecretStr

from steptrail.schemas.configuration.clickhouse_target import parse_clickhouse_url
from steptrail.schemas.configuration.settings_names import ENV_PREFIX, check_names, known_names, unknown_names
from steptrail.schemas.configuration.stack_file import (
    NoStackError,
    StackAddresses,
    addresses_of_stack,
    read_stack_file,
)


def from_environment(fields: Iterable[str]) -> dict[str, str]:
    """The value of each of `fields` whose variable is set and not empty; variables match in any case."""
    names = {ENV_PREFIX + name.upper(): name for name in fields}
    return {
        names[name.upper()]: value for name, value in os.environ.items() if value and name.upper() in names
    }


def from_local_stack(fields: Iterable[str], given: Mapping[str, Any]) -> dict[str, str]:
    """The running local stack's addresses, for those that are not in `given`.

    Without STEPTRAIL_DIR nobody chose that stack, so it is not combined with an explicitly set address.
    Raises NoStackError, or ConfigurationError for a misspelt variable.
    """
    wanted = {"kafka", "clickhouse"} - set(given)
    known = known_names(fields)
    check_names(unknown_names(os.environ, fields), known, {ENV_PREFIX + name.upper() for name in wanted})
    if not wanted:
        return {}
    chosen = os.environ.get(ENV_PREFIX + "DIR")
    try:
        stack = addresses_of_stack() if chosen or len(wanted) == 2 else read_stack_file()
    except NoStackError as error:
        missing = " and ".join(sorted(ENV_PREFIX + name.upper() for name in wanted))
        unset = ", or unset STEPTRAIL_DIR" if chosen else ""
        raise NoStackError(f"{error}\n`steptrail up` starts one; else set {missing}{unset}.") from None
    if stack is None or not (chosen or len(wanted) == 2 or _is_of(stack, given)):
        return {}
    return {name: getattr(stack, name) for name in wanted}


def _is_of(stack: StackAddresses, given: Mapping[str, Any]) -> bool:
    """Whether the single explicitly set address is this stack's."""
    if "kafka" in given:
        return bool(given["kafka"] == stack.kafka)
    url = given["clickhouse"]
    try:
        own = parse_clickhouse_url(stack.clickhouse)
        other = parse_clickhouse_url(url.get_secret_value() if isinstance(url, SecretStr) else str(url))
    except ValueError:
        return False  # the field's own check reports what is wrong
    return (own.host, own.port) == (other.host, other.port)
