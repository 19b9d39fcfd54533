"""The alerting consumer's policy: owners, routes, grouping and targets. Frozen data."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from steptrail.consumers.alerts.model.alert import ERROR_GROUP, TARGET, Alert
from steptrail.schemas.stored_names import matches_name

SEVERITIES = ("WARNING", "CRITICAL", "UNKNOWN")


@dataclass(frozen=True)
class Grouping:
    """How alerts become notifications. Times in seconds.

    Alerts with equal values of `group_by` (fields or labels) are notified together: first `wait` after the first of
    them fired, then changes at most every `interval`, and firing alerts again after `repeat`.
    """

    group_by: tuple[str, ...] = ("pipeline",)
    wait: float = 10.0
    interval: float = 60.0
    repeat: float = 4 * 3600.0


@dataclass(frozen=True)
class Owner:
    """The owner of the steps that match the globs, and labels for their alerts."""

    pipeline: str = "*"
    step: str = "*"
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def matches(self, pipeline: str, step: str) -> bool:
        """Shell-style globs, case-sensitive."""
        return matches_name(pipeline, self.pipeline) and matches_name(step, self.step)


@dataclass(frozen=True)
class Route:
    """Which alerts go to which targets. Any of the globs may match; `kinds` None: all but error groups.

    Matching stops at the first route that matches an alert, unless it sets `goes_on`.
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
        """Whether it applies to this alert."""
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
        """Whether it explicitly names the kind for error groups; `*` does not."""
        return any(glob.strip("*?") and fnmatch.fnmatchcase(ERROR_GROUP, glob) for glob in self.kinds or ())


@dataclass(frozen=True)
class Inhibition:
    """Whether a pipeline's alert inhibits its steps' alerts that are not more severe, and which `kinds` of it do.

    An alert about everything inhibits those of its own kind.
    """

    enabled: bool = True
    kinds: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class TargetPolicy:
    """What the engine needs of a target.

    `identity`: the severity is part of an alert's identity there, so every change of it is sent (Alertmanager).
    `grouping`: overrides the routes'. `retry_after`: how long after a notification died (all its attempts failed)
    delivery is retried. `resends`: repeats are routine there and not stored as records.
    """

    name: str
    identity: bool = False
    grouping: Grouping | None = None
    retry_after: float = 300.0
    resends: bool = False


@dataclass(frozen=True)
class AlertPolicy:
    """The whole policy; `targets` by name."""

    routes: tuple[Route, ...] = ()
    targets: Mapping[str, TargetPolicy] = field(default_factory=dict)
    owners: tuple[Owner, ...] = ()
    inhibition: Inhibition = field(default_factory=Inhibition)
    of_pipelines: bool = False
    defaults: Grouping = field(default_factory=Grouping)

    def ownership(self, pipeline: str, step: str) -> tuple[str, Mapping[str, str]]:
        """The owner from the last matching entry that names one, and the labels of all matching entries."""
        owner, labels = "", dict[str, str]()
        for each in self.owners:
            if each.matches(pipeline, step):
                owner = each.owner or owner
                labels.update(each.labels)
        return owner, labels

    def holds(self, kind: str) -> bool:
        """Whether a pipeline's alert of this kind inhibits others."""
        return self.inhibition.enabled and _any(kind, self.inhibition.kinds)

    @property
    def asks_for_groups(self) -> bool:
        """Whether any route wants alerts about error groups."""
        return any(route.asks_for_groups for route in self.routes)

    def routes_of(self, alert: Alert) -> dict[str, tuple[str, Grouping]]:
        """By target: the name of the route that leads there, and its grouping.

        An alert about a failing target goes to all other targets, whatever the routes.
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
