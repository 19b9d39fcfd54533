"""A client of schema registries with Confluent's protocol, based on confluent-kafka's.

steptrail does not need one: schemas are bundled. If one is configured, emitters frame events with the registry's
schema id, so that other tools can read them, and consumers resolve ids with it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, Final

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError, DataError, InfrastructureError
from steptrail.schemas.redact import redact_values

TIMEOUT_S: Final = 5.0
_NOT_THERE: Final = (40401, 40402, 40403)  # no such subject, version, schema


class RegistryUnavailable(InfrastructureError):
    """The schema registry does not answer, or with an error (5xx, wrong credentials): wait and retry."""


class UnknownSchemaId(DataError):
    """The schema registry has no schema with this id."""


class SchemaRefused(DataError):
    """The schema registry refuses to register the schema, or lacks it and registration was not requested."""


class SchemaRegistry:
    """A caching client of the registry in `settings.schema_registry`.

    Every method blocks for a few seconds at most and is thread-safe. Raises ConfigurationError at once when the extra
    `registry` is not installed or the settings name no registry.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.schema_registry is None:
            raise ConfigurationError("STEPTRAIL_SCHEMA_REGISTRY is not set")
        self.url = settings.schema_registry
        require_client()
        from confluent_kafka.schema_registry import SchemaRegistryClient

        self._secrets = settings.secrets()
        self._lock = threading.Lock()
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, Mapping[str, Any]] = {}
        self._client = SchemaRegistryClient(client_config(settings))

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        """The id of `schema` under `subject`; registers it there if necessary.

        Raises RegistryUnavailable; SchemaRefused when the registry finds it incompatible or invalid.
        """
        return self._id_of(subject, schema, self._client.register_schema)

    def look_up(self, subject: str, schema: Mapping[str, Any]) -> int:
        """The id of `schema` under `subject`. Raises RegistryUnavailable; SchemaRefused when it is not registered."""
        return self._id_of(
            subject, schema, lambda name, wanted: self._client.lookup_schema(name, wanted).schema_id
        )

    def schema(self, schema_id: int) -> Mapping[str, Any] | None:
        """The Avro record with this id, None for a schema of another type.

        Raises RegistryUnavailable; UnknownSchemaId when the registry has none.
        """
        with self._lock:
            if schema_id in self._schemas:
                return self._schemas[schema_id]
        parsed = _record_in(self._ask(lambda: self._client.get_schema(schema_id), UnknownSchemaId))
        if parsed is not None:
            with self._lock:
                self._schemas[schema_id] = parsed
        return parsed

    def _id_of(self, subject: str, schema: Mapping[str, Any], ask: Any) -> int:
        from confluent_kafka.schema_registry import Schema

        text = json.dumps(schema)
        with self._lock:
            if (subject, text) in self._ids:
                return self._ids[subject, text]
        found = int(self._ask(lambda: ask(subject, Schema(text, "AVRO")), SchemaRefused))
        with self._lock:
            self._ids[subject, text] = found
        return found

    def _ask(self, question: Any, refusal: type[DataError]) -> Any:
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            return question()
        except SchemaRegistryError as error:
            told = self._told(f"HTTP {error.http_status_code}, {error.error_message}")
            # Not found, incompatible, invalid: an answer. Everything else is an unavailable registry, including a plain
            # 404 from a path without one.
            if error.error_code in _NOT_THERE or error.http_status_code in (409, 422):
                raise refusal(told) from None
            raise RegistryUnavailable(told) from None
        except Exception as error:  # various errors of the HTTP library
            raise RegistryUnavailable(self._told(f"{type(error).__name__}: {error}")) from None

    def _told(self, what: str) -> str:
        return redact_values(f"the schema registry at {self.url}: {what}", self._secrets)


def _record_in(found: Any) -> Mapping[str, Any] | None:
    if found.schema_type not in (None, "AVRO"):
        return None
    try:
        parsed = json.loads(found.schema_str or "")
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) and parsed.get("type") == "record" else None


def require_client() -> None:
    """Import the registry client; raises ConfigurationError when it is not installed.

    Call this before using a registry from a thread: an import interrupted by a fork leaves the child's modules locked.
    """
    try:
        import confluent_kafka.schema_registry  # noqa: F401  checks that it can be imported
    except ImportError as missing:
        raise ConfigurationError(
            f"STEPTRAIL_SCHEMA_REGISTRY is set, but the Python package {missing.name!r} is not installed: "
            "pip install 'steptrail[registry]'"
        ) from None


def subject_of(topic: str) -> str:
    """The subject of a topic's value schema (Confluent's TopicNameStrategy)."""
    return f"{topic}-value"


def client_config(settings: Settings) -> dict[str, Any]:
    """The properties of confluent-kafka's registry client; contains secrets, never show it."""
    config: dict[str, Any] = {
        "url": settings.schema_registry,
        "timeout": TIMEOUT_S,
        # The caller retries at its own pace, and reports it.
        "max.retries": 0,
    }
    if settings.schema_registry_user is not None:
        password = settings.schema_registry_password
        secret = password.get_secret_value() if password is not None else ""
        config["basic.auth.user.info"] = f"{settings.schema_registry_user}:{secret}"
    if settings.schema_registry_ca is not None:
        config["ssl.ca.location"] = settings.schema_registry_ca
    return config
