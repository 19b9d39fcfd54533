"""Emitters that were pickled: they open again where they arrive, once in each process.

A manager that is an argument of thousands of tasks arrives thousands of times. So its copies share one emitter, which
is kept open when a task lets go of it, until it is closed or many others have arrived.
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
    """What copies of one emitter have in common."""
    return os.urandom(16)


def reopened(
    kind: type[StepEmitter], origin: bytes, settings: Settings, redaction: Redaction | None, spool: str | None
) -> StepEmitter:
    """The emitter that stands here for the one that was pickled; called by pickle."""
    known = _arrived.pop(origin, None)
    if known is None or known.closed or type(known) is not kind:
        known = kind(settings, redact=redaction, spool=spool)
        known.origin = origin
    _arrived[origin] = known
    while len(_arrived) > KEPT:
        _arrived.popitem(last=False)
    return known
