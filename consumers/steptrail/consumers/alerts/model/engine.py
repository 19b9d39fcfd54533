"""Decides which notifications to send now: grouping, waiting, repeating, inhibition, silences. Pure and stateless.

The input is the alerts, each target's last notifications and the time; the output is notifications. A restart loses
nothing: the same records at the same time give the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from steptrail.consumers.alerts.model.alert import RESOLVED, TARGET, Alert
from steptrail.consumers.alerts.model.notification import Notification, Told, ended_episode, notification
from steptrail.consumers.alerts.model.policy import AlertPolicy, Grouping, TargetPolicy
from steptrail.consumers.alerts.model.silence import Silence, silencing

MAX_ALERTS = 100
"""Alerts in one notification; more are told in several."""

MAX_BYTES = 300_000
"""Of its alerts as JSON: well within what Kafka takes for a record."""

MAX_ON_THEIR_WAY = 50
"""Notifications that a target may have on their way; what is beyond waits, and is computed anew."""


@dataclass(frozen=True)
class Held:
    """Why an alert is not notified: the id of a silence, or of the alert that inhibits it."""

    by: str
    silence: bool
    until: float | None = None


@dataclass(frozen=True)
class Plan:
    """What to send now, when to plan again (infinity: on the next change), and which alerts are held back."""

    notifications: tuple[Notification, ...] = ()
    again_at: float = math.inf
    held: Mapping[str, Held] = field(default_factory=dict)


@dataclass
class _Group:
    """Alerts notified together to a target; `last`: when it was last notified of any of them."""

    target: TargetPolicy
    name: str
    grouping: Grouping
    members: list[tuple[Alert, Told | None]] = field(default_factory=list)
    last: float = -math.inf


def plan(
    alerts: Mapping[str, Alert],
    told: Mapping[tuple[str, str], Told],
    on_their_way: Iterable[Notification],
    silences: Iterable[Silence],
    policy: AlertPolicy,
    now: float,
) -> Plan:
    """Plan for `now`, in seconds since the epoch. `told` by (target, alert id)."""
    held, again_at = held_back(alerts, silences, policy, now)
    sending = {
        (each.target, alert.id) for each in on_their_way for alert in each.alerts
    }  # one notification at a time per alert and target keeps them ordered
    busy: dict[str, int] = {}
    for each in on_their_way:
        busy[each.target] = busy.get(each.target, 0) + 1
    found: list[Notification] = []
    for group in _groups(alerts, told, policy):
        due, wake = _due(group, held, sending, now)
        again_at = min(again_at, wake)
        refresh = group.target.resends and all(repeat for _, repeat in due)
        for said in _batches([alert for alert, _ in due]):
            if busy.get(group.target.name, 0) >= MAX_ON_THEIR_WAY:
                break
            busy[group.target.name] = busy.get(group.target.name, 0) + 1
            found.append(notification(group.target.name, group.name, said, now, refresh=refresh))
    return Plan(tuple(found), again_at, held)


def _batches(alerts: Sequence[Alert]) -> Iterator[list[Alert]]:
    """Split alerts, in order, into batches that fit a notification and its record on the topic."""
    batch: list[Alert] = []
    size = 0
    for alert in alerts:
        more = len(alert.to_bytes())
        if batch and (len(batch) == MAX_ALERTS or size + more > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(alert)
        size += more
    if batch:
        yield batch


def held_back(
    alerts: Mapping[str, Alert], silences: Iterable[Silence], policy: AlertPolicy, now: float
) -> tuple[dict[str, Held], float]:
    """Firing alerts that are held back, by id, and when that may change by itself."""
    silences = list(silences)
    edges = [edge for each in silences for edge in (each.starts, each.ends) if edge > now]
    held: dict[str, Held] = {}
    for alert in alerts.values():
        if alert.firing and (silence := silencing(alert, silences, now)) is not None:
            held[alert.id] = Held(silence.id, True, silence.ends)
    if policy.inhibition.enabled:
        wide, ends = _wide(alerts, held, policy, now)
        edges += ends
        for alert in alerts.values():
            if alert.firing and alert.id not in held and (by := _holder(alert, wide)) is not None:
                held[alert.id] = Held(by.id, False)
    return held, min(edges, default=math.inf)


def _wide(
    alerts: Mapping[str, Alert], silenced: Mapping[str, Held], policy: AlertPolicy, now: float
) -> tuple[dict[str, list[Alert]], list[float]]:
    """Inhibiting alerts by pipeline, "" for everything; and when the ended ones stop inhibiting.

    A recently ended one still inhibits, as long as groups wait: its parts may be about to end too.
    """
    wide: dict[str, list[Alert]] = {}
    ends = []
    for alert in alerts.values():
        if alert.step or alert.kind == TARGET or alert.id in silenced:
            continue
        if not policy.holds(alert.kind):
            continue
        if not alert.firing:
            end = (alert.ended_at or alert.fired_at) + policy.defaults.wait
            if end <= now:
                continue
            ends.append(end)
        wide.setdefault(alert.pipeline, []).append(alert)
    return wide, ends


def _holder(alert: Alert, wide: Mapping[str, list[Alert]]) -> Alert | None:
    if alert.kind == TARGET:
        return None
    weight = alert.severity.weight
    everything = (each for each in wide.get("", ()) if alert.pipeline and each.kind == alert.kind)
    pipeline = (each for each in wide.get(alert.pipeline, ()) if alert.pipeline and alert.step)
    holders = [each for each in (*everything, *pipeline) if each.severity.weight >= weight]
    return min(holders, key=lambda each: (not each.firing, each.since, each.id), default=None)


def _groups(
    alerts: Mapping[str, Alert], told: Mapping[tuple[str, str], Told], policy: AlertPolicy
) -> list[_Group]:
    """Every alert in a group for each target that is, or was, notified of it."""
    groups: dict[tuple[str, str], _Group] = {}
    for alert in alerts.values():
        routes = policy.routes_of(alert)
        for name, target in policy.targets.items():
            known = told.get((name, alert.id))
            if name in routes:
                route, grouping = routes[name]
            elif known is not None and known.status != RESOLVED:
                # No route leads there any more, but a target notified of its firing must also be notified of its end.
                route, grouping = "ended", target.grouping or policy.defaults
            else:
                continue
            values = ", ".join(f"{by}={alert.value_of(by)}" for by in grouping.group_by)
            title = f"{route}: {values}" if values else route
            group = groups.setdefault((name, title), _Group(target, title, grouping))
            if name not in routes and alert.firing:
                continue
            group.members.append((alert, known))
            if known is not None:
                group.last = max(group.last, known.at)
    return list(groups.values())


def _due(
    group: _Group, held: Mapping[str, Held], sending: set[tuple[str, str]], now: float
) -> tuple[list[tuple[Alert, bool]], float]:
    """What to send for the group now, each with whether it is a repeat; otherwise when something will be due."""
    news: list[tuple[Alert, bool]] = []
    first, repeat_at = math.inf, math.inf
    for alert, known in group.members:
        if (group.target.name, alert.id) in sending:
            continue
        said = _news(alert, known, group.target, alert.id in held)
        if said is not None:
            news.append((said, False))
            first = min(first, _news_at(said, known, group))
        elif alert.firing and known is not None and alert.id not in held:
            at = known.at + group.grouping.repeat
            repeat_at = min(repeat_at, at)
            if at <= now:
                news.append((alert, True))
    if min(first, repeat_at) > now:
        return [], min(first, repeat_at)
    if first > now:  # only repeats are due
        news = [each for each in news if each[1]]
    news.sort(key=lambda each: (each[0].since, each[0].id))
    return news, first if first > now else math.inf


def _news_at(said: Alert, known: Told | None, group: _Group) -> float:
    if known is not None and not known.sure:
        return known.at + group.target.retry_after
    next_news = group.last + group.grouping.interval
    if not said.firing or (known is not None and known.episode == said.episode):
        return next_news
    began = said.fired_at + group.grouping.wait
    # Its previous episode was ended only so that this one can be sent: do not wait again.
    follows = known is not None and known.status == RESOLVED and known.at >= began
    return began if follows else max(next_news, began)


def _news(alert: Alert, known: Told | None, target: TargetPolicy, held: bool) -> Alert | None:
    """The next state of the alert to notify the target of; None if it is up to date.

    A notified episode is always ended there before the next one is notified. An episode that ended before any
    notification is skipped.
    """
    if known is None:
        return alert if alert.firing and not held else None
    may_fire = known.status != RESOLVED or not known.sure
    if known.episode != alert.episode:
        if may_fire:
            return ended_episode(known, alert)
        return alert if alert.firing and not held else None
    if not alert.firing:
        if not may_fire:
            return None
        return replace(alert, severity=known.severity) if target.identity else alert
    if target.identity and may_fire and (known.status, known.severity) != (alert.status, alert.severity):
        return ended_episode(known, alert)  # with its former severity it is a different alert there
    if held:
        return None
    if not known.sure or known.status == RESOLVED:
        return alert
    heavier = alert.severity.weight > known.severity.weight
    return alert if heavier and not target.identity else None
