"""What the alerting consumer goes by: who owns what, who is told of what, and how often. Frozen data."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from steptrail.consumers.alerts.model.alert import ERROR_GROUP, TARGET, Alert
from steptrail.schemas.stored_names import matches_name

SEVERITIES = ("WARNING", "CRITICAL", "UNKNOWN")


@dataclass(frozen=True)
class Grouping:
    """How alerts become notifications. Seconds.

    Alerts with equal values of `group_by` (fields or labels) are told together: first `wait` after the first of
    them fired, then news at most every `interval`, and what still fires again after `repeat`.
    """

    group_by: tuple[str, ...] = ("pipeline",)
    wait: float = 10.0
    interval: float = 60.0
    repeat: float = 4 * 3600.0


@dataclass(frozen=True)
class Owner:
    """Who owns the steps that the globs match, and labels for their alerts."""

    pipeline: str = "*"
    step: str = "*"
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def matches(self, pipeline: str, step: str) -> bool:
        """Globs as of the shell; upper and lower case differ."""
        return matches_name(pipeline, self.pipeline) and matches_name(step, self.step)


@dataclass(frozen=True)
class Route:
    """Which alerts go to which targets. Globs, any of which matches; `kinds` None: all but error groups.

    The first route that matches an alert is the last that is asked, unless it says `goes_on`.
    """

    name: str
    targets: tuple[str, ...]
    pipelines: tuple[str, ...] = ("*",)
    steps: tuple[str, ...] = ("*",)
    owners: tuple[str, ...] = ("*",)
    kinds: tuple[str, ...] | None = None
    severities: tuple[str, ...] = SEVERITIES
    goes_on: bool = False
    grouping: Grouping = field(default_factory=Grouping)

    def matches(self, alert: Alert) -> bool:
        """Whether it is about this alert."""
        if alert.kind == ERROR_GROUP:
            right_kind = self.asks_for_groups
        else:
            right_kind = self.kinds is None or _any(alert.kind, self.kinds)
        return (
            right_kind
            and alert.severity.value in self.severities
            and _any(alert.pipeline, self.pipelines)
            and _any(alert.step, self.steps)
            and _any(alert.owner, self.owners)
        )

    @property
    def asks_for_groups(self) -> bool:
        """Whether it names the kind of alerts about error groups; a mere `*` does not."""
        return any(glob.strip("*?") and fnmatch.fnmatchcase(ERROR_GROUP, glob) for glob in self.kinds or ())


@dataclass(frozen=True)
class Inhibition:
    """Whether a pipeline's alert holds back its steps' alerts that are no heavier, and of which `kinds` it must be.

    An alert about everything holds back those of its own kind.
    """

    enabled: bool = True
    kinds: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class TargetPolicy:
    """What the engine has to know of a target.

    `identity`: the severity belongs to an alert's identity there, so every change of it is told (Alertmanager).
    `grouping`: in place of the routes'. `retry_after`: how long after a notification died (all its attempts failed)
    what is still to be said is tried again. `resends`: repeats are its normal way and not worth a record.
    """

    name: str
    identity: bool = False
    grouping: Grouping | None = None
    retry_after: float = 300.0
    resends: bool = False


@dataclass(frozen=True)
class AlertPolicy:
    """All of the above; `targets` by name."""

    routes: tuple[Route, ...] = ()
    targets: Mapping[str, TargetPolicy] = field(default_factory=dict)
    owners: tuple[Owner, ...] = ()
    inhibition: Inhibition = field(default_factory=Inhibition)
    of_pipelines: bool = False
    defaults: Grouping = field(default_factory=Grouping)

    def ownership(self, pipeline: str, step: str) -> tuple[str, Mapping[str, str]]:
        """The owner by the last entry that matches and names one, and the labels of all that match."""
        owner, labels = "", dict[str, str]()
        for each in self.owners:
            if each.matches(pipeline, step):
                owner = each.owner or owner
                labels.update(each.labels)
        return owner, labels

    def holds(self, kind: str) -> bool:
        """Whether a pipeline's alert of this kind holds back others."""
        return self.inhibition.enabled and _any(kind, self.inhibition.kinds)

    @property
    def asks_for_groups(self) -> bool:
        """Whether any route wants alerts about error groups."""
        return any(route.asks_for_groups for route in self.routes)

    def routes_of(self, alert: Alert) -> dict[str, tuple[str, Grouping]]:
        """By target: the name of the route that leads there, and how alerts are grouped on it.

        That a target takes nothing is told to all other targets, whatever the routes say.
        """
        if alert.kind == TARGET:
            about = alert.labels.get("target")
            return {
                name: (TARGET, self._grouping(name, self.defaults)) for name in self.targets if name != about
            }
        found: dict[str, tuple[str, Grouping]] = {}
        for route in self.routes:
            if route.matches(alert):
                for name in route.targets:
                    found.setdefault(name, (route.name, self._grouping(name, route.grouping)))
                if not route.goes_on:
                    break
        return found

    def _grouping(self, target: str, otherwise: Grouping) -> Grouping:
        return self.targets[target].grouping or otherwise


def _any(text: str, globs: Sequence[str]) -> bool:
    return any(matches_name(text, glob) for glob in globs)
