"""The plots of docs/health.md: small SVG files that are the same, byte for byte, each time they are made."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from health_sim.simulation import Simulation

PLOTS = ("detection", "score", "false_alarms", "recovery", "durations", "silence")
"""Each is `draw(simulation, canvas)` of the module of its name in `health_sim.plots`, and becomes health_NAME.svg."""

OURS, OTHER, THIRD, FOURTH = "#0b6e99", "#c4661f", "#6b7f3a", "#7a4f8f"
WARNING, CRITICAL = "#f2c14e", "#d1495b"

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "steptrail",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.facecolor": "white",
    "path.simplify_threshold": 0.5,
}


class Canvas:
    """Where a plot is drawn: `axes` makes it, once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def axes(self, rows: int = 1, columns: int = 1, *, height: float = 3.0, **more: Any) -> Iterator[Any]:
        """Axes as of `pyplot.subplots`, 7.2 inches wide; written when the block ends."""
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot

        with mpl.rc_context(_STYLE):
            figure, axes = pyplot.subplots(rows, columns, figsize=(7.2, height), layout="constrained", **more)
            yield axes
            figure.savefig(self._path, format="svg", metadata={"Date": None, "Creator": None})
            pyplot.close(figure)
        lines = self._path.read_text("utf-8").splitlines()
        self._path.write_text("\n".join(line.rstrip() for line in lines) + "\n", "utf-8")


def draw(simulation: Simulation, folder: Path) -> Iterator[Path]:
    """Draw every plot into `folder`, which is made; each path when it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PLOTS:
        path = folder / f"health_{name}.svg"
        importlib.import_module(f"health_sim.plots.{name}").draw(simulation, Canvas(path))
        yield path
