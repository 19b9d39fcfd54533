"""The topics as a backup keeps them: partitions, replicas and the properties that were set for them."""

from __future__ import annotations

import json

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topic_admin import TopicAdmin
from steptrail.schemas.topics import TopicChange, Topics, TopicSpec

_TIMEOUT_S = 30.0


def saved_topics(settings: Settings) -> str:
    """The topics as they are now, as JSON. Raises InfrastructureError when Kafka does not answer."""
    names = [spec.name for spec in Topics.from_settings(settings).all]
    found = TopicAdmin(settings, _TIMEOUT_S).found(names)
    return json.dumps(
        {
            each.spec.name: {
                "partitions": each.spec.partitions,
                "replicas": each.replicas,
                "config": dict(each.spec.config),
            }
            for each in found
        }
    )


def restore_topics(settings: Settings, saved: str, *, create: bool) -> list[TopicChange]:
    """Compare the topics with those of a backup, and `create` the missing ones; never alters or deletes one.

    Without `create`, the outcome "created" stands for those that it would create. Replicas are as many as
    STEPTRAIL_REPLICATION_FACTOR says. Raises InfrastructureError and ConfigurationError.
    """
    specs = [
        TopicSpec(str(name), int(each["partitions"]), dict(each["config"]))
        for name, each in json.loads(saved).items()
    ]
    admin = TopicAdmin(settings, _TIMEOUT_S)
    if create:
        return admin.ensure(specs, alter=False)
    there = {each.spec.name for each in admin.found([spec.name for spec in specs])}
    compared = {
        change.topic: change
        for change in admin.ensure([spec for spec in specs if spec.name in there], alter=False)
    }
    return [compared.get(spec.name, TopicChange(spec.name, "created")) for spec in specs]
