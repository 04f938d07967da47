"""Pictures of the results' file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ravine._figures import BLACK, HEADING, LINE_STYLES, MUTED, new_figure, reduce_colours, save, style
from ravine.benchmark import workloads

from .measure import SERIAL
from .tables import TITLES, Results, Row, limit_part, ravine_seconds, title
from .worker import LIMIT, NO_STEP

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LOOKS: dict[str, dict[str, Any]] = {
    **dict(zip(TITLES, (look for look in LINE_STYLES if look["color"] != BLACK), strict=False)),
    "ravine": {"color": BLACK, "linewidth": 3},
    SERIAL: {"color": BLACK, "linewidth": 1},
    LIMIT: {"color": MUTED, "linestyle": ":"},
}


@dataclass(frozen=True)
class Picture:
    """A picture that was drawn.

    Attributes:
        part: the part of the results that it belongs to.
        heading: what it shows.
        path: its file.
    """

    part: str
    heading: str
    path: Path


def draw(results: Results, folder: Path) -> list[Picture]:
    """Write each picture for which there are results, and return them.

    Args:
        results: what was measured.
        folder: where to write; made if it is not there.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    flat = [row for row in results["steps"] if row["workload"].startswith("flat:")]
    for rule in dict.fromkeys(row["rule"] for row in flat):
        rows = [row for row in flat if row["rule"] == rule]
        picture = Picture("steps", f"A step of {rule} on one array", folder / f"time-{rule}.png")
        drawn.append(_save(picture, rows, "threads", _times))
        if any(row["peer"] == LIMIT for row in rows):
            heading = f"What part of a step of {rule} its memory traffic takes by itself"
            picture = Picture("steps", heading, folder / f"memory-limit-{rule}.png")
            drawn.append(_save(picture, rows, "threads", _limits))
    if any(row["peer"] == NO_STEP for row in results["loops"]):
        picture = Picture("loops", "The step's share of a training loop's iteration", folder / "training-loop.png")
        drawn.append(_save(picture, results["loops"], "products", _shares))
    return drawn


def _save(picture: Picture, rows: Sequence[Row], key: str, panel: Callable[[Axes, Sequence[Row]], None]) -> Picture:
    """Write a picture with a panel for each value of a key."""
    values = list(dict.fromkeys(row[key] for row in rows))
    with style():
        figure = new_figure(1.2 + 4.8 * len(values), 4.8)
        figure.suptitle(picture.heading, **HEADING)
        row_of_axes = figure.subplots(1, len(values), sharex=True, sharey=True, squeeze=False)[0]
        for axes, value in zip(row_of_axes, values, strict=True):
            panel(axes, [row for row in rows if row[key] == value])
            axes.set_title(f"{value} thread{'s' * (value > 1)}" if key == "threads" else f"{value} products")
            axes.label_outer()
        handles, labels = row_of_axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center")
        save(figure, picture.path)
    reduce_colours(picture.path)
    return picture


def _lines(axes: Axes, points: dict[str, list[tuple[float, float]]]) -> None:
    """Draw a line for each contender, who looks the same in every picture."""
    for name, line in points.items():
        x, y = zip(*sorted(line), strict=True)
        look: dict[str, Any] = {"marker": "o", "markersize": 3, "label": title(name), **_LOOKS[name]}
        axes.plot(x, y, **look)
    axes.set_xscale("log")
    axes.set_xlabel("parameters")


def _times(axes: Axes, rows: Sequence[Row]) -> None:
    points: dict[str, list[tuple[float, float]]] = {
        "ravine": [(workloads.count(name), seconds) for name, seconds in ravine_seconds(rows).items()]
    }
    for row in rows:
        points.setdefault(row["peer"], []).append((workloads.count(row["workload"]), row["seconds"]))
    _lines(axes, points)
    axes.set_yscale("log")
    axes.set_ylabel("seconds a step")


def _limits(axes: Axes, rows: Sequence[Row]) -> None:
    points: dict[str, list[tuple[float, float]]] = {"ravine": []}
    for row in rows:
        count = workloads.count(row["workload"])
        if row["peer"] == LIMIT:
            points["ravine"].append((count, 100 * row["ratio"]["median"]))
        elif (part := limit_part(rows, row)) is not None:
            points.setdefault(row["peer"], []).append((count, 100 * part))
    _lines(axes, points)
    axes.set_ylim(0, 110)
    axes.set_ylabel("% of the step")


def _shares(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw 1 − (iteration without a step) / iteration; both were compared with the same loop."""
    without = {row["parameters"]: row["ratio"]["median"] for row in rows if row["peer"] == NO_STEP}
    points: dict[str, list[tuple[float, float]]] = {
        SERIAL: [(count, 100 * (1 - ratio)) for count, ratio in without.items()]
    }
    for row in rows:
        if row["peer"] != NO_STEP and row["parameters"] in without:
            share = 1 - without[row["parameters"]] / row["ratio"]["median"]
            points.setdefault(row["peer"], []).append((row["parameters"], 100 * share))
    _lines(axes, points)
    axes.set_ylim(0, 100)  # what lies below is noise
    axes.set_ylabel("% of the iteration")
