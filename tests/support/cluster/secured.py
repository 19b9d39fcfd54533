"""A pipeline of its own on the secured cluster: topics, tables, and for each role a principal with just its rights."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs leave some out
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from steptrail.deploy.cli.main import run
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas.access.rights import ROLES, Right, rights
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from support.cluster.cluster import KafkaCluster
from support.stack import Stack, environ_of

_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
}
_KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def bindings(principal: str, granted: Sequence[Right]) -> list[AclBinding]:
    """The rights as Kafka's admin client takes them."""
    return [
        AclBinding(
            _KINDS[right.kind],
            right.name,
            ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
            principal,
            "*",
            _OPERATIONS[right.operation],
            AclPermissionType.ALLOW,
        )
        for right in granted
    ]


class Secured:
    """Settings by role; `prefix` is that of the topics and the name of the database."""

    def __init__(self, cluster: KafkaCluster, stack: Stack, *, tls: bool = False) -> None:
        self.cluster = cluster
        self.prefix = f"secured_{secrets.token_hex(4)}"
        self.topics = Topics(self.prefix)
        self.rights = rights(self.topics)
        self._tls = tls
        self._values: dict[str, Any] = {
            "clickhouse": stack.with_database(self.prefix),
            "topic_prefix": self.prefix,
            "replication_factor": 3,
            "min_insync_replicas": 2,
            "steps_partitions": 3,
        }

    def user(self, role: str) -> str:
        """The name of a role's principal."""
        return f"{self.prefix}-{role}"

    def settings(self, user: str) -> Settings:
        """Of a user."""
        make = self.cluster.tls_settings if self._tls else self.cluster.settings
        return make(user, **self._values)

    def of(self, role: str) -> Settings:
        """Of a role."""
        return self.settings(self.user(role))

    def grant(self, user: str, granted: Sequence[Right]) -> None:
        """Make the user with these rights and no other."""
        if not self._tls:
            self.cluster.add_user(user)
        self.cluster.allow(bindings(f"User:{user}", granted))

    def without(self, role: str, missing: Right) -> Settings:
        """Settings of a new user who has the role's rights but one."""
        user = f"{self.user(role)}-{secrets.token_hex(3)}"
        self.grant(user, [right for right in self.rights[role] if right != missing])
        return self.settings(user)

    def cli(self, role: str, *argv: str) -> tuple[int, str, str]:
        """Run `steptrail …` in this process as the role: exit code, output, errors."""
        return cli(self.of(role), *argv)


def cli(settings: Settings, *argv: str) -> tuple[int, str, str]:
    """Run `steptrail …` in this process with these settings: exit code, output, errors."""
    out, err = io.StringIO(), io.StringIO()
    more = {"STEPTRAIL_REPLICATION_FACTOR": "3", "STEPTRAIL_MIN_INSYNC_REPLICAS": "2"}
    environ = environ_of(settings, STEPTRAIL_STEPS_PARTITIONS=str(settings.steps_partitions), **more)
    with (
        mock.patch.dict(os.environ, environ, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run(list(argv))
    assert "Traceback" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()


@contextmanager
def secured_pipeline(cluster: KafkaCluster, stack: Stack, *, tls: bool = False) -> Iterator[Secured]:
    """Every role with its rights, and the tables; the topics are for the admin to make."""
    secured = Secured(cluster, stack, tls=tls)
    for role in ROLES:
        secured.grant(secured.user(role), secured.rights[role])
    with connect(secured.of("projector")) as clickhouse:
        try:
            migrate(clickhouse)
            yield secured
        finally:
            clickhouse.command(f"DROP DATABASE IF EXISTS `{secured.prefix}` SYNC")
            admin = cluster.new_admin()
            mine = [name for name in admin.list_topics(timeout=30).topics if name.startswith(secured.prefix)]
            for future in admin.delete_topics(mine, operation_timeout=30).values() if mine else ():
                future.exception(30)
