"""Reopens pickled emitters where they are unpickled, once per process.

A manager passed to thousands of tasks is unpickled thousands of times. So its copies share one emitter, which stays
open when a task drops it, until it is closed or many other emitters have been unpickled.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from steptrail.producers.emitter import StepEmitter
    from steptrail.producers.secrets.redaction import Redaction
    from steptrail.schemas.configuration.settings import Settings

KEPT: Final = 8
"""Emitters that stay open in a process though nobody there holds them."""

_arrived: OrderedDict[bytes, StepEmitter] = OrderedDict()


def new_origin() -> bytes:
    """Return an identity that all pickled copies of one emitter share."""
    return os.urandom(16)


def reopened(
    kind: type[StepEmitter], origin: bytes, settings: Settings, redaction: Redaction | None, spool: str | None
) -> StepEmitter:
    """Return this process's emitter for the pickled one; called by pickle."""
    known = _arrived.pop(origin, None)
    if known is None or known.closed or type(known) is not kind:
        known = kind(settings, redact=redaction, spool=spool)
        known.origin = origin
    _arrived[origin] = known
    while len(_arrived) > KEPT:
        _arrived.popitem(last=False)
    return known
