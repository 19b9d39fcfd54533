"""Everything that can be set, in one model: from arguments, the environment, or the running local stack.

An argument wins over its variable `STEPTRAIL_<NAME>`, and that over the local stack found by
`steptrail.schemas.configuration.stack_file`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator
from typing_extensions import Self, Unpack

from steptrail.schemas.configuration.clickhouse_settings import ClickHouseSettings
from steptrail.schemas.configuration.clickhouse_target import ClickHouseTarget
from steptrail.schemas.configuration.settings_errors import described
from steptrail.schemas.configuration.settings_names import ENV_PREFIX, unknown_names
from steptrail.schemas.configuration.settings_parsing import (
    check_pipeline,
    check_registry_urls,
    check_topic_prefix,
)
from steptrail.schemas.configuration.settings_sources import from_environment, from_local_stack
from steptrail.schemas.configuration.settings_values import SettingsValues
from steptrail.schemas.configuration.stack_file import StackAddresses, default_dir, read_stack_file
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.event import MAX_EVENT_BYTES
from steptrail.schemas.redact import redacted

__all__ = [
    "ENV_PREFIX",
    "ClickHouseTarget",
    "Settings",
    "StackAddresses",
    "default_dir",
    "read_stack_file",
    "redacted",
    "unknown_variables",
]

_DAY_MS: Final = 24 * 60 * 60 * 1000
_FRAME_AND_IDS: Final = 16 * 1024  # what an event holds beside details, metrics and messages


class Settings(ClickHouseSettings):
    """All settings of steptrail. `Settings()` takes them from the environment and the running local stack.

    Raises ConfigurationError, which names the variable, for a value that cannot be; where an address is not given,
    also for a variable that looks like it but misspelt, and for STEPTRAIL_DIR without a running stack.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True, defer_build=False
    )

    # Schema registry
    schema_registry: Annotated[str, AfterValidator(check_registry_urls)] | None = Field(
        None,
        description="URL of a schema registry that speaks Confluent's protocol, several with commas between; unset:"
        " no registry is needed, schemas come with the package. Asks for the extra `steptrail[registry]`.",
    )
    schema_registry_user: str | None = Field(None, description="User at the schema registry, if it asks.")
    schema_registry_password: SecretStr | None = Field(None, description="Password at the schema registry.")
    schema_registry_ca: str | None = Field(
        None,
        description="File with the certificates of the authorities that the schema registry is trusted by.",
    )
    schema_registry_register: bool = Field(
        True,
        description="Whether emitters register the event's schema; otherwise they only look it up, and somebody else"
        " registers it.",
    )

    # Names
    pipeline: Annotated[str, AfterValidator(check_pipeline)] = Field(
        "default", description="Pipeline, or tenant, that events belong to."
    )
    topic_prefix: Annotated[str, AfterValidator(check_topic_prefix)] = Field(
        "steptrail", description="Start of the names of all topics and consumer groups."
    )

    # Topics
    steps_partitions: int = Field(
        6, ge=1, le=10_000, description="Partitions of the steps topic at its creation; later they stay."
    )
    replication_factor: int = Field(
        -1,
        ge=-1,
        le=100,
        description="Replicas of each partition at a topic's creation; -1: the broker's default.",
    )
    min_insync_replicas: int = Field(
        -1,
        ge=-1,
        le=100,
        description="Replicas that must hold an event before it counts as delivered; -1: the broker's default. With"
        " a replication factor of 3, 2 is the safe value.",
    )
    retention_ms: int = Field(
        30 * _DAY_MS,
        ge=-1,
        description="How long the steps topic keeps events, in milliseconds; -1: without end. Past it, tables"
        " cannot be rebuilt from the topic.",
    )
    dlq_retention_ms: int = Field(
        90 * _DAY_MS,
        ge=-1,
        description="How long dead letters are kept, in milliseconds; -1: without end. At least as long as"
        " the steps topic keeps events.",
    )

    # Limits of one event
    max_event_bytes: int = Field(
        MAX_EVENT_BYTES, ge=16 * 1024, le=MAX_EVENT_BYTES, description="Longest encoded event, in bytes."
    )
    max_details_bytes: int = Field(
        256 * 1024, ge=64, description="Longest details of an event, as JSON, in bytes; beyond, they are cut."
    )
    max_metrics_bytes: int = Field(
        64 * 1024, ge=64, description="Longest metrics of an event, as JSON, in bytes; beyond, they are cut."
    )
    max_error_message_bytes: int = Field(
        64 * 1024, ge=64, description="Longest error message, in bytes of UTF-8; beyond, it is cut."
    )
    max_name_bytes: int = Field(
        1024,
        ge=64,
        le=4096,
        description="Longest document id, step name and error type, in bytes of UTF-8; beyond, they are cut and end in"
        " a hash.",
    )

    # Emission
    queue_max_messages: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Events that an emitter holds at most before it drops new ones.",
    )
    queue_max_kbytes: int = Field(
        65_536,
        ge=1,
        le=2_097_151,
        description="KiB that an emitter holds at most before it drops new events.",
    )
    linger_ms: float = Field(
        20.0,
        ge=0,
        le=900_000,
        description="How long an emitter gathers events into a batch, in milliseconds.",
    )
    message_timeout_ms: int = Field(
        120_000,
        ge=1,
        description="How long an event may wait for the broker, in milliseconds, before it failed.",
    )
    spool_max_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024,
        description="Bytes of the file in which an emitter with a spool keeps what it cannot send, at most.",
    )
    journal_dir: str | None = Field(
        None,
        min_length=1,
        description="Folder of journals: what an emitter accepts is kept there until it is delivered, so that it"
        " outlives the process. Unset: none. One folder for one Kafka, on this host, of this user only.",
    )
    journal_max_bytes: int = Field(
        1024 * 1024 * 1024,
        ge=4 * 1024 * 1024,
        description="Bytes of all journals in the folder, at most; beyond, events go on without, and are counted.",
    )
    exit_flush_s: float = Field(
        2.0, ge=0, le=600, description="How long an emitter waits for what is pending at exit, in seconds."
    )

    # Projector
    batch_max_events: int = Field(
        100_000, ge=1, le=100_000, description="Events that are written to ClickHouse in one batch, at most."
    )
    batch_max_bytes: int = Field(
        32 * 1024 * 1024, ge=1024 * 1024, description="Bytes of events in one batch, at most."
    )
    batch_max_age_s: float = Field(
        0.5,
        gt=0,
        le=1.0,
        description="How long an event may wait for its batch to fill, in seconds; while fewer than 100 come, four"
        " times as long, but at most 2.",
    )
    poison_max_in_a_row: int = Field(
        10_000,
        ge=0,
        description="Messages in a row that are no events, at which a consumer stops instead of setting"
        " them aside; 0: never.",
    )
    poison_max_ratio: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of 10,000 messages or more that are no events, above which a consumer stops instead of"
        " setting them aside; 1: never.",
    )
    poison_max_unexplained: int = Field(
        200,
        ge=0,
        description="Messages of a batch that ClickHouse refuses for no known reason, beyond which a consumer"
        " stops.",
    )
    shutdown_timeout_s: float = Field(
        10.0, gt=0, le=600, description="How long a consumer may take to stop, in seconds."
    )
    group_instance_id: str | None = Field(
        None,
        min_length=1,
        description="Name of this consumer as a static member of its groups; unset: one that the machine keeps.",
    )
    metrics_host: str = Field("127.0.0.1", min_length=1, description="Address that metrics are served on.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port that metrics are served on, 0 for any free one; unset: not served.",
    )
    health_rules: str | None = Field(
        None,
        description="TOML file of the rules that the health consumer judges by. It is read again when it changes.",
    )
    alerts_file: str | None = Field(
        None,
        description="TOML file of the alerting consumer: owners, routes, targets. It is read again when it changes.",
    )
    link_base: str | None = Field(
        None,
        max_length=300,
        pattern=r"^https?://[^\s<>\"|@?#\\]+$",
        description="Address below which alerts link to what they are about, such as https://steptrail.example.com; "
        "unset: they have no links.",
    )

    # HTTP API and pages
    web_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that `steptrail run web` listens on. Other than on loopback it needs tokens or a trusted"
        " proxy.",
    )
    web_port: int = Field(
        8321, ge=0, le=65535, description="Port that `steptrail run web` listens on; 0 for any free one."
    )
    web_statements: int = Field(
        2, ge=1, le=1000, description="Statements that pages and the API run in ClickHouse at a time."
    )
    web_tokens: str | None = Field(
        None,
        min_length=1,
        description="TOML file with the hashes of the tokens that may use the API; `steptrail run web --new-token`"
        " writes it. It is read again when it changes.",
    )
    web_names: str | None = Field(
        None,
        min_length=1,
        description="Host names under which browsers may reach the API beside its address, with commas between.",
    )
    web_proxy_header: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="Header in which a trusted proxy names the user whom it has authenticated, such as"
        " X-Forwarded-User.",
    )
    web_proxy_addresses: str = Field(
        "127.0.0.1,::1",
        min_length=1,
        description="Addresses and networks of the proxies whose header is believed, with commas between.",
    )
    web_proxy_role: Literal["read", "operate"] = Field(
        "read", description="What users whom the trusted proxy names may do: read, or operate."
    )

    def __init__(self, **values: Unpack[SettingsValues]) -> None:
        fields = type(self).model_fields
        given = {**from_environment(fields), **values}
        given = {**from_local_stack(fields, given), **given}
        try:
            super().__init__(**given)
        except ValidationError as error:
            # from None: the context would show the values, secrets among them.
            raise ConfigurationError(described(error, values, fields)) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        parts = self.max_details_bytes + self.max_metrics_bytes + self.max_error_message_bytes
        if parts + _FRAME_AND_IDS > self.max_event_bytes:
            raise ValueError(
                "STEPTRAIL_MAX_DETAILS_BYTES, STEPTRAIL_MAX_METRICS_BYTES and STEPTRAIL_MAX_ERROR_MESSAGE_BYTES"
                f" make {parts}, which with {_FRAME_AND_IDS} for the rest do not fit in"
                f" STEPTRAIL_MAX_EVENT_BYTES, {self.max_event_bytes}"
            )
        if 0 < self.replication_factor < self.min_insync_replicas:
            raise ValueError(
                f"STEPTRAIL_MIN_INSYNC_REPLICAS is {self.min_insync_replicas}, more than the"
                f" {self.replication_factor} of STEPTRAIL_REPLICATION_FACTOR: nothing could be written"
            )
        return self

    def with_values(self, **values: Unpack[SettingsValues]) -> Settings:
        """A copy with other values, checked like any; neither the environment nor the stack is asked again."""
        held: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        held.update(values)
        return Settings(**held)

    def secrets(self) -> list[str]:
        """Every secret text in these settings, for `redact_values`."""
        urls = ("clickhouse", "clickhouse_servers")
        held = [getattr(self, name) for name in type(self).model_fields if name not in urls]
        found = [value.get_secret_value() for value in held if isinstance(value, SecretStr)]
        # Of URLs only the password, as it is spelled there and as it is: who reads an error needs the address.
        found += self.clickhouse_secrets()
        found += self.kafka_secrets()
        return [secret for secret in found if secret]

    def redacted(self) -> dict[str, Any]:
        """The settings as plain values, fit to be shown: secrets are `***`."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {**redacted(values), "clickhouse": redacted(self.clickhouse.get_secret_value())}

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return list(self.redacted().items())


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Names of variables that start with STEPTRAIL_ and mean nothing: typing errors, most likely."""
    return unknown_names(os.environ if environ is None else environ, Settings.model_fields)
