"""The tables of an alerts file except targets: owners, routes, inhibition and grouping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from steptrail.consumers.alerts.config.target_tables import AlertmanagerTable, Labels, WebhookTable
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.model.policy import (
    SEVERITIES,
    AlertPolicy,
    Grouping,
    Inhibition,
    Owner,
    Route,
)
from steptrail.schemas.configuration.toml_file import Clashes, Found, Table
from steptrail.schemas.configuration.toml_lines import Keys
from steptrail.schemas.configuration.toml_values import Glob, Texts, duration, seconds, which_of
from steptrail.schemas.near_names import or_near

_DAY = 86_400.0
_PERIODS = {"group_wait": "wait", "group_interval": "interval", "repeat_interval": "repeat"}


def _periods(found: Found, otherwise: Grouping) -> Grouping:
    """`otherwise` with the valid periods in `found`."""
    given: dict[str, Any] = {}
    for key, name in _PERIODS.items():
        try:
            given[name] = duration(found[key])
        except (KeyError, ValueError):
            continue
    return replace(otherwise, **given)


def _order_of_periods(found: Found, otherwise: Grouping) -> Iterator[tuple[str, str]]:
    grouping = _periods(found, otherwise)
    if grouping.repeat < grouping.interval and found.keys() & {"repeat_interval", "group_interval"}:
        key = "repeat_interval" if "repeat_interval" in found else "group_interval"
        yield key, "repeat_interval is less than group_interval"


class GroupingTable(Table):
    """`[defaults]`: how alerts become notifications."""

    group_by: Texts | None = None
    group_wait: Annotated[float, seconds(0, _DAY)] | None = None
    group_interval: Annotated[float, seconds(0, 7 * _DAY)] | None = None
    repeat_interval: Annotated[float, seconds(1, 365 * _DAY)] | None = None

    def grouping(self, otherwise: Grouping) -> Grouping:
        """`otherwise` with the values of this table."""
        given = {name: getattr(self, key) for key, name in {"group_by": "group_by", **_PERIODS}.items()}
        return replace(otherwise, **{name: value for name, value in given.items() if value is not None})


def _severities(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in SEVERITIES:
            raise ValueError(which_of(value, SEVERITIES))
    return values


class RouteTable(GroupingTable):
    """`[[route]]`: which alerts go to which targets."""

    name: Annotated[str, Field(min_length=1)] | None = None
    targets: Texts
    pipeline: Texts = ("*",)
    step: Texts = ("*",)
    owner: Texts = ("*",)
    kind: Texts | None = None
    severity: Annotated[Texts, AfterValidator(_severities)] = SEVERITIES
    goes_on: bool = Field(default=False, alias="continue")

    def route(self, number: int, defaults: Grouping) -> Route:
        """Convert to the policy's Route; `number` counts from 0."""
        return Route(
            name_of_route(self.name, number),
            tuple(dict.fromkeys(self.targets)),
            self.pipeline,
            self.step,
            self.owner,
            self.kind,
            self.severity,
            self.goes_on,
            self.grouping(defaults),
        )


class OwnerTable(Table):
    """`[[owner]]`: the owner of the steps that match the globs."""

    pipeline: Glob = "*"
    step: Glob = "*"
    owner: str = ""
    labels: Labels = Field(default_factory=dict)


class InhibitionTable(Table):
    """`[inhibition]`: whether a pipeline's alerts inhibit those of its steps."""

    enabled: bool = True
    kinds: Texts = Inhibition().kinds


class AlertsTable(Table):
    """`[alerts]`: which alerts exist."""

    of_pipelines: bool = False


class AlertsDocument(Table):
    """A whole alerts file; pass a SecretPlaces as the validation context."""

    defaults: GroupingTable = GroupingTable()
    owner: list[OwnerTable] = Field(default_factory=list)
    target: list[Annotated[WebhookTable | AlertmanagerTable, Field(discriminator="type")]] = Field(
        default_factory=list
    )
    route: list[RouteTable] = Field(default_factory=list)
    inhibition: InhibitionTable = InhibitionTable()
    alerts: AlertsTable = AlertsTable()

    @classmethod
    def _clashes(cls, found: Found, context: Any) -> Clashes:
        targets, routes = _tables(found, "target"), _tables(found, "route")
        named = [name for table in targets if isinstance(name := table.get("name"), str)]
        yield from _repeated("target", [table.get("name") for table in targets])
        yield from _repeated("route", [name_of_route(t.get("name"), n) for n, t in enumerate(routes)])
        defaults = table if isinstance(table := found.get("defaults"), dict) else {}
        yield from ((("defaults", key), what) for key, what in _order_of_periods(defaults, Grouping()))
        otherwise = _periods(defaults, Grouping())
        for number, table in enumerate(routes):
            wanted = table.get("targets", [])
            for name in [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []:
                if isinstance(name, str) and name not in named:
                    yield ("route", number, "targets"), f"there is no target {name!r}{or_near(name, named)}"
            for key, what in _order_of_periods(table, otherwise):
                yield ("route", number, key), what

    def targets(self) -> dict[str, Target]:
        """The targets by name."""
        return {table.name: table.target() for table in self.target}

    def policy(self, targets: dict[str, Target]) -> AlertPolicy:
        """The engine's policy."""
        defaults = self.defaults.grouping(Grouping())
        return AlertPolicy(
            tuple(table.route(number, defaults) for number, table in enumerate(self.route)),
            {name: target.policy for name, target in targets.items()},
            tuple(Owner(table.pipeline, table.step, table.owner, table.labels) for table in self.owner),
            Inhibition(self.inhibition.enabled, self.inhibition.kinds),
            self.alerts.of_pipelines,
            defaults,
        )


def name_of_route(name: Any, number: int) -> Any:
    """The route's name, or a default from its `number`, counted from 0."""
    return f"route {number + 1}" if name is None else name


def _tables(found: Found, key: str) -> list[Found]:
    value = found.get(key)
    return [item if isinstance(item, dict) else {} for item in value] if isinstance(value, list) else []


def _repeated(key: str, names: list[Any]) -> Iterator[tuple[Keys, str]]:
    for number, name in enumerate(names):
        if isinstance(name, str) and name in names[:number]:
            yield (key, number, "name"), f"there is a {key} {name!r} already"
