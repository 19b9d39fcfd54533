"""Admin clients of librdkafka for questions that one certain broker has to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka.admin import AdminClient


def admin_client(config: Mapping[str, Any], **more: Any) -> AdminClient:
    """A client with these librdkafka properties; `more` is passed on. Raises what AdminClient does.

    It connects to every broker at once instead of when one is asked. A question to a broker that is away, a partition's
    leader or the controller, would otherwise have librdkafka (2.16) connect without any pause until the question times
    out, and take most of a processor for it: see docs/decisions/0048.
    """
    return AdminClient({"enable.sparse.connections": False, **config}, **more)
