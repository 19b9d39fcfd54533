"""Panels on a ClickHouse datasource, and what all dashboards of steptrail have in common.

Values of variables are names in hexadecimal digits: a pipeline or a step may have any name, and Grafana puts values into
the SQL as text.
"""

# pyright: reportArgumentType=false
# The SDK is for Python 3.11 and later: read as 3.10, its enums are plain texts.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import GraphDrawStyle, StackingConfig, StackingMode

SOURCE = models.DataSourceRef(type_val="grafana-clickhouse-datasource", uid="steptrail-clickhouse")
PLUGIN = "4.0.0"
WIDTH = 24

STATUS_COLOURS = {
    "SUCCESS": "green",
    "WARNING": "yellow",
    "ERROR": "orange",
    "FAILED": "red",
    "SKIPPED": "text",
    "RUNNING": "blue",
    "PENDING": "purple",
}
#: Shown as this text, in a colour of its own.
VERDICTS = {"HEALTHY": "green", "UNKNOWN": "purple", "WARNING": "yellow", "CRITICAL": "red"}

#: A condition on pipelines or steps, left out where All is chosen.
PIPELINES = "$__conditionalAll(pipeline IN (SELECT unhex(arrayJoin([${pipeline:singlequote}]))), $pipeline)"
STEPS = "$__conditionalAll(step_name IN (SELECT unhex(arrayJoin([${step:singlequote}]))), $step)"


@dataclass(frozen=True)
class Sql(Builder[Dataquery], Dataquery):
    """A query of the datasource, as its plugin keeps it: `time_series`, or a table."""

    sql: str
    time_series: bool = False

    def build(self) -> Dataquery:
        """It is what it builds."""
        return self

    def to_json(self) -> dict[str, object]:
        """What stands in the dashboard's `targets`."""
        return {
            "refId": "A",
            "datasource": SOURCE,
            "editorType": "sql",
            "pluginVersion": PLUGIN,
            "format": 0 if self.time_series else 1,
            "queryType": "timeseries" if self.time_series else "table",
            "rawSql": self.sql.strip(),
        }


def number(
    title: str, sql: str, *, about: str, unit: str = "short", bad_from: float | None = None, span: int = 4
) -> stat.Panel:
    """One number, red from `bad_from` on."""
    panel = stat.Panel().title(title).description(about).datasource(SOURCE).with_target(Sql(sql)).unit(unit)
    steps = [models.Threshold(value=None, color="text" if bad_from is None else "green")]
    if bad_from is not None:
        steps.append(models.Threshold(value=bad_from, color="red"))
    return (
        panel.thresholds(dashboard.ThresholdsConfig().steps(steps)).no_value("no data").span(span).height(4)
    )


def lines(
    title: str,
    sql: str,
    *,
    about: str,
    unit: str = "short",
    stacked: bool = False,
    colours: dict[str, str] | None = None,
    span: int = 12,
) -> timeseries.Panel:
    """Series over time; where nothing is known there is a gap, not a zero."""
    panel = timeseries.Panel().title(title).description(about).datasource(SOURCE)
    panel = panel.with_target(Sql(sql, time_series=True)).unit(unit).no_value("no data").span(span).height(8)
    panel = panel.min(0).interval("1m")  # the minutes that the health consumer counts
    if stacked:
        panel = panel.stacking(_Stacking()).draw_style(GraphDrawStyle.BARS).fill_opacity(70)
    for name, colour in (colours or {}).items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel = panel.override_by_name(name, [models.DynamicConfigValue(id_val="color", value=fixed)])
    return panel


class _Stacking(Builder[StackingConfig]):
    def build(self) -> StackingConfig:
        return StackingConfig(mode=StackingMode.NORMAL, group="A")


def rows(
    title: str,
    sql: str,
    *,
    about: str,
    links: dict[str, tuple[str, str]] | None = None,
    hidden: Sequence[str] = (),
    units: dict[str, str] | None = None,
    span: int = WIDTH,
    height: int = 9,
) -> table.Panel:
    """A table. `links` is by column what a cell leads to: what is said of it, and the address."""
    panel = table.Panel().title(title).description(about).datasource(SOURCE).with_target(Sql(sql))
    panel = panel.no_value("").span(span).height(height)
    for column, (said, url) in (links or {}).items():
        link = [{"title": said, "url": url, "targetBlank": url.startswith("${pages}")}]
        panel = panel.override_by_name(column, [models.DynamicConfigValue(id_val="links", value=link)])
    for column in hidden:
        panel = panel.override_by_name(
            column, [models.DynamicConfigValue(id_val="custom.hidden", value=True)]
        )
    for column, unit in (units or {}).items():
        panel = panel.override_by_name(column, [models.DynamicConfigValue(id_val="unit", value=unit)])
    mapping = {
        text: {"text": text, "color": colour} for text, colour in {**STATUS_COLOURS, **VERDICTS}.items()
    }
    for column in ("status", "verdict"):
        shown: list[models.DynamicConfigValue] = [
            models.DynamicConfigValue(id_val="mappings", value=[{"type": "value", "options": mapping}]),
            models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
        ]
        panel = panel.override_by_name(column, shown)
    return panel


def board(
    uid: str, title: str, about: str, panels: Sequence[Any], variables: Sequence[Any]
) -> dashboard.Dashboard:
    """A dashboard with `panels` from left to right, and links to the others and to steptrail's pages."""
    made = dashboard.Dashboard(title).uid(uid).description(about).tags(["steptrail"]).timezone("browser")
    made = made.time("now-6h", "now").refresh("1m").tooltip(models.DashboardCursorSync.CROSSHAIR).editable()
    others = dashboard.DashboardLink("steptrail").type(models.DashboardLinkType.DASHBOARDS)
    made = made.link(others.tags(["steptrail"]).keep_time(True).as_dropdown(True))
    pages = dashboard.DashboardLink("pages").type(models.DashboardLinkType.LINK)
    made = made.link(pages.url("${pages}/").target_blank(True))
    for variable in variables:
        made = made.with_variable(variable)
    made = made.with_variable(
        dashboard.TextBoxVariable("pages").label("steptrail's pages").default_value("http://127.0.0.1:8321")
    )
    for panel in panels:
        made = made.with_panel(panel)
    return made


def names(name: str, sql: str, *, many: bool = True) -> dashboard.QueryVariable:
    """A variable whose values are names: of `sql`'s columns the first is the value, the second is shown."""
    variable = dashboard.QueryVariable(name).datasource(SOURCE).query(sql)
    variable = variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable = variable.sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    if many:
        everything = models.VariableOption(selected=True, text="All", value="$__all")
        variable = variable.multi(True).include_all(True).current(everything)
    return variable


def pipelines(*, many: bool = True) -> dashboard.QueryVariable:
    """The variable `pipeline`."""
    return names(
        "pipeline",
        "SELECT DISTINCT hex(pipeline), toString(pipeline) FROM step_minute_rows ORDER BY 2",
        many=many,
    )


def steps_of_pipelines(*, many: bool = True) -> dashboard.QueryVariable:
    """The variable `step`, of the pipelines that are chosen."""
    where = PIPELINES if many else "pipeline = unhex('${pipeline:raw}')"
    sql = (
        f"SELECT DISTINCT hex(step_name), toString(step_name) FROM step_minute_rows WHERE {where} ORDER BY 2"
    )
    return names("step", sql, many=many)


def to_document(pipeline: str = "pipeline", document: str = "document") -> tuple[str, str]:
    """A link to the page of a row's document."""
    names = f"pipeline=${{__data.fields.{pipeline}:percentencode}}&doc=${{__data.fields.{document}:percentencode}}"
    return "the document's page", "${pages}/document?" + names


def to_step() -> tuple[str, str]:
    """A link to the dashboard of a row's step; the row has its names in hexadecimal digits, too."""
    return (
        "the step's dashboard",
        "/d/steptrail-step?var-pipeline=${__data.fields.pipeline_hex}&var-step=${__data.fields.step_hex}"
        "&from=${__from}&to=${__to}",
    )
