"""The local stack: a real Kafka and the ClickHouse engine on this machine, supervised, without Docker."""

from __future__ import annotations

from steptrail.deploy.stack.status import PartStatus, StackStatus, stack_status
from steptrail.deploy.stack.up import down, up

__all__ = ["PartStatus", "StackStatus", "down", "stack_status", "up"]
