"""A source of settings besides arguments and the environment: the running local stack."""

from __future__ import annotations

import os
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from steptrail.schemas.configuration.clickhouse_target import parse_clickhouse_url
from steptrail.schemas.configuration.settings_names import ENV_PREFIX, check_names, known_names, unknown_names
from steptrail.schemas.configuration.stack_file import (
    NoStackError,
    StackAddresses,
    addresses_of_stack,
    read_stack_file,
)


class LocalStack(PydanticBaseSettingsSource):
    """Supplies the running local stack's addresses for those not set otherwise.

    Without STEPTRAIL_DIR nobody chose that stack, so it is not combined with an explicitly set address.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Part of pydantic-settings' interface; unused, since this source returns all its values at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the addresses that are not set. Raises NoStackError, or ConfigurationError for a misspelt variable."""
        wanted = {"kafka", "clickhouse"} - set(self.current_state)
        fields = self.settings_cls.model_fields
        check_names(
            unknown_names(os.environ, fields),
            known_names(fields),
            {ENV_PREFIX + name.upper() for name in wanted},
        )
        if not wanted:
            return {}
        chosen = os.environ.get(ENV_PREFIX + "DIR")
        try:
            stack = addresses_of_stack() if chosen or len(wanted) == 2 else read_stack_file()
        except NoStackError as error:
            missing = " and ".join(sorted(ENV_PREFIX + name.upper() for name in wanted))
            unset = ", or unset STEPTRAIL_DIR" if chosen else ""
            raise NoStackError(f"{error}\n`steptrail up` starts one; else set {missing}{unset}.") from None
        if stack is None or not (chosen or len(wanted) == 2 or self._is_of(stack)):
            return {}
        return {name: getattr(stack, name) for name in wanted}

    def _is_of(self, stack: StackAddresses) -> bool:
        """Whether the single explicitly set address is this stack's."""
        given = self.current_state
        if "kafka" in given:
            return bool(given["kafka"] == stack.kafka)
        url = given["clickhouse"]
        try:
            own = parse_clickhouse_url(stack.clickhouse)
            other = parse_clickhouse_url(url.get_secret_value() if isinstance(url, SecretStr) else str(url))
        except ValueError:
            return False  # the field's own check reports what is wrong
        return (own.host, own.port) == (other.host, other.port)
