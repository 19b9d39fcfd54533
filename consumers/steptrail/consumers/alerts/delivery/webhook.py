"""Requests to webhooks, signed according to Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from steptrail.consumers.alerts.delivery.http_post import Answer, path_of, post, together
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.delivery.templates import MOST_SHORTER
from steptrail.consumers.alerts.model.notification import Notification


def send_webhook(target: Target, told: Notification, now: float, shorter: int = 0) -> Answer:
    """Send one notification; returns the answer to its last part, or the first failure.

    `now`: time of this attempt, seconds since the epoch; the id is the notification's, or a part's. `shorter`: how
    often it was refused for its size.
    """
    parts = target.template.parts(told, shorter)
    answers = (_send(target, part.id, body, now) for part, body in parts)
    return together(answers, last=shorter >= MOST_SHORTER)


def _send(target: Target, message_id: str, body: bytes, now: float) -> Answer:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "steptrail",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        **target.headers,
    }
    if target.keys:
        headers["webhook-signature"] = signature(target.keys, message_id, int(now), body)
    return post(target, path_of(target.url), headers, body)


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: `v1,` and the HMAC-SHA256 of `id.timestamp.body` for each key."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    macs = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)
