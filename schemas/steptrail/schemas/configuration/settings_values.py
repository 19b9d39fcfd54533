"""The names and types of settings as arguments, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import SecretStr
from typing_extensions import TypedDict


class SettingsOverrides(TypedDict, total=False):
    """What may be given in place of a setting: the fields of `Settings`, which describes them, but for `pipeline`,
    which is an argument of its own wherever these are.
    """

    kafka: str
    kafka_security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] | None
    kafka_sasl_mechanism: str | None
    kafka_sasl_username: str | None
    kafka_sasl_password: SecretStr | str | None
    kafka_sasl_password_file: str | None
    kafka_ssl_ca_location: str | None
    kafka_ssl_certificate_location: str | None
    kafka_ssl_key_location: str | None
    kafka_ssl_key_password: SecretStr | str | None
    kafka_ssl_key_password_file: str | None
    kafka_options: Mapping[str, str] | str
    clickhouse: SecretStr | str
    clickhouse_user: str | None
    clickhouse_password: SecretStr | str | None
    clickhouse_ca: str | None
    clickhouse_verify: bool
    clickhouse_layout: Literal["single", "replicated", "sharded", "sharded_replicated"]
    clickhouse_servers: SecretStr | str | None
    clickhouse_cluster: str
    schema_registry: str | None
    schema_registry_user: str | None
    schema_registry_password: SecretStr | str | None
    schema_registry_ca: str | None
    schema_registry_register: bool
    topic_prefix: str
    steps_partitions: int
    replication_factor: int
    min_insync_replicas: int
    retention_ms: int
    dlq_retention_ms: int
    max_event_bytes: int
    max_details_bytes: int
    max_metrics_bytes: int
    max_error_message_bytes: int
    max_name_bytes: int
    queue_max_messages: int
    queue_max_kbytes: int
    linger_ms: float
    message_timeout_ms: int
    spool_max_bytes: int
    journal_dir: str | None
    journal_max_bytes: int
    exit_flush_s: float
    batch_max_events: int
    batch_max_bytes: int
    batch_max_age_s: float
    poison_max_in_a_row: int
    poison_max_ratio: float
    poison_max_unexplained: int
    shutdown_timeout_s: float
    group_instance_id: str | None
    metrics_host: str
    metrics_port: int | None
    health_rules: str | None
    alerts_file: str | None
    link_base: str | None
    web_host: str
    web_port: int
    web_statements: int
    web_tokens: str | None
    web_names: str | None
    web_proxy_header: str | None
    web_proxy_addresses: str
    web_proxy_role: str


class SettingsValues(SettingsOverrides, total=False):
    """All fields of `Settings`."""

    pipeline: str
