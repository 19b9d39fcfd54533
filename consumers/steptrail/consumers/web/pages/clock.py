"""Times as a page shows them, all of them through here: relative and absolute, in one zone, the offset always said."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup, escape

_UNITS = ((604_800, "w"), (86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def zone_of(name: str | None) -> tzinfo:
    """The zone of that name; UTC for none, or one that is not known here."""
    if not name or name == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return timezone.utc


class Clock:
    """One page's now and zone."""

    def __init__(self, zone: tzinfo, now: datetime) -> None:
        self.zone = zone
        self.now = now

    @property
    def zone_name(self) -> str:
        """Such as `UTC`, `Europe/Berlin`."""
        return getattr(self.zone, "key", None) or "UTC"

    @property
    def offset(self) -> str:
        """Such as `UTC`, `UTC+1`, `UTC+5:30`."""
        minutes = round((self.now.astimezone(self.zone).utcoffset() or timedelta()).total_seconds() / 60)
        if not minutes:
            return "UTC"
        hours, rest = divmod(abs(minutes), 60)
        return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02d}" if rest else "")

    def text(self, moment: datetime, *, precise: bool = False) -> str:
        """`11:32:04` on the day of now, `2026-05-04 11:32:04` on another; with milliseconds when `precise`."""
        local = self._local(moment)
        shown = local.strftime("%H:%M:%S")
        if precise:
            shown += f".{local.microsecond // 1000:03d}"
        if local.date() != self.now.astimezone(self.zone).date():
            shown = f"{local.year:04d}-{local:%m-%d} {shown}"
        return shown

    def when(self, moment: datetime | None, *, precise: bool = False) -> Markup:
        """The absolute time; its whole text with the offset on hovering."""
        return self._element(moment, "" if moment is None else self.text(moment, precise=precise))

    def ago(self, moment: datetime | None) -> Markup:
        """`3 min ago`, `in 5 s`, `just now`; the absolute time on hovering."""
        if moment is None:
            return Markup()
        seconds = (self.now - moment).total_seconds()
        if abs(seconds) < 1:
            return self._element(moment, "just now")
        return self._element(moment, f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}")

    def _element(self, moment: datetime | None, text: str) -> Markup:
        if moment is None:
            return Markup()
        local = self._local(moment)
        whole = f"{local.year:04d}-{local:%m-%d %H:%M:%S}.{local.microsecond:06d} {self.offset}"
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z"), whole, escape(text)
        )

    def _local(self, moment: datetime) -> datetime:
        try:
            return moment.astimezone(self.zone)
        except OverflowError:  # at the ends of the calendar a zone may lie outside
            return moment


def span(seconds: float) -> str:
    """`18 s`, `3 min`, `2 h`, `4 d`: the greatest unit that there is one of."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{seconds * 1000:.0f} ms"
