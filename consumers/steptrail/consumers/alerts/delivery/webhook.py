"""Requests to webhooks, signed as Standard Webhooks has it (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from steptrail.consumers.alerts.delivery.http_post import Answer, path_of, post
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.model.notification import Notification


def send_webhook(target: Target, told: Notification, now: float) -> Answer:
    """Send one notification. `now`: seconds since the epoch, of this attempt; the id is the notification's."""
    body = target.template(told)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "steptrail",
        "webhook-id": told.id,
        "webhook-timestamp": str(int(now)),
        **target.headers,
    }
    if target.keys:
        headers["webhook-signature"] = signature(target.keys, told.id, int(now), body)
    return post(target, path_of(target.url), headers, body)


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: `v1,` and the HMAC-SHA256 of `id.timestamp.body`, one for each key."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    macs = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)
