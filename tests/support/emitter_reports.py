"""What stands on the topic of emitters, decoded."""

from __future__ import annotations

from steptrail.schemas import Settings, Topics
from steptrail.schemas.emitter_report import EmitterReport, decode_report
from support.projecting import read_all


def reports_of(settings: Settings) -> dict[str, list[EmitterReport]]:
    """The reports of each emitter, in the order of the topic, by its id in hex."""
    found: dict[str, list[EmitterReport]] = {}
    for message in read_all(settings, Topics.from_settings(settings).emitters.name):
        value, key = message.value(), message.key()
        assert isinstance(value, bytes)
        report = decode_report(value)
        assert key == report.emitter_id.hex().encode()
        found.setdefault(report.emitter_id.hex(), []).append(report)
    return found
