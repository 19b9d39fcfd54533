"""Changes a topic's configuration as an operator does, beside what reads and writes it."""

# confluent_kafka.admin re-exports its names without saying so.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from steptrail.schemas.configuration.settings import Settings
from support.waiting import PATIENCE_S, until


def configure_topic(settings: Settings, topic: str, name: str, value: str) -> None:
    """Set one property, and return when the broker goes by it, which is later than when it has answered."""
    admin = AdminClient(settings.kafka_config())
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result(PATIENCE_S)
    asked = ConfigResource(ResourceType.TOPIC, topic)

    def is_set() -> bool:
        [described] = admin.describe_configs([asked]).values()
        return bool(described.result(PATIENCE_S)[name].value == value)

    until(is_set, f"{name}={value} on {topic}")
