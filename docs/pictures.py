"""Make the pictures of the documentation.

python docs/pictures.py [folder]

Needs the package with its extra: pip install "ravine[plot]".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ravine import plot
from ravine._figures import BLUE, ORANGE, new_figure, reduce_colours, style
from ravine.demo import saddle
from ravine.demo.schedules import GALLERY, STEPS
from ravine.plot.command import construct, new_optimizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What passes over memory read ("r") and write ("w") of the arrays of Adam with an average of the weights.
ARRAYS = ("gradient", "parameter", "exp_avg", "exp_avg_sq", "average")
ONE_BY_ONE = {
    "unscale": {"gradient": "rw"},
    "norm": {"gradient": "r"},
    "clip": {"gradient": "rw"},
    "Adam": {"gradient": "r", "parameter": "rw", "exp_avg": "rw", "exp_avg_sq": "rw"},
    "average": {"parameter": "r", "average": "rw"},
    "zero": {"gradient": "w"},
}
IN_ONE_STEP = {
    "norm": {"gradient": "r"},
    "all others": dict.fromkeys(ARRAYS, "rw"),
}
FLOAT32 = 4  # bytes


def bytes_of(touched: Mapping[str, str]) -> int:
    """Return the bytes a parameter that a pass reads and writes."""
    return FLOAT32 * len("".join(touched.values()))


def draw_passes() -> Figure:
    """Draw what a training step reads and writes, as operations one by one and as one step."""
    with style():
        figure = new_figure(9.2, 3.2)
        left, right = figure.subplots(1, 2, width_ratios=(6, 2), sharey=True)
        for axes, title, passes in ((left, "One by one", ONE_BY_ONE), (right, "In one step", IN_ONE_STEP)):
            total = sum(map(bytes_of, passes.values()))
            axes.set_title(f"{title}: {total} bytes", pad=10)
            _draw_table(axes, passes)
        left.set_yticks(range(len(ARRAYS)), ARRAYS)
        left.set_ylabel("array")
        left.set_xlabel("passes over memory, with their bytes for each parameter")
        left.set_ylim(len(ARRAYS) - 0.4, -0.6)
        for color, label in ((BLUE, "read"), (ORANGE, "written")):
            left.bar(0, 0, color=color, label=label)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _draw_table(axes: Axes, passes: Mapping[str, Mapping[str, str]]) -> None:
    """Draw a column for each pass, in which a read fills the left half of a cell and a write the right one."""
    for x, touched in enumerate(passes.values()):
        for y, name in enumerate(ARRAYS):
            for letter, color, begin in (("r", BLUE, -0.4), ("w", ORANGE, 0.0)):
                if letter in touched.get(name, ""):
                    axes.barh(y, 0.4, 0.7, x + begin, color=color)
    axes.set_xticks(range(len(passes)), [f"{name}\n{bytes_of(touched)}" for name, touched in passes.items()])
    axes.set_xlim(-0.6, len(passes) - 0.4)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set(visible=True, color="#cccccc")


def main(folder: Path) -> None:
    """Write a picture of each schedule, that of the passes of a training step, and the animation."""
    schedules = folder / "schedules"
    schedules.mkdir(parents=True, exist_ok=True)
    for example in reversed(GALLERY):  # of a class that comes twice, the first
        made = construct(example.text, new_optimizer())
        title = f"{example.name}({example.text.partition('(')[2][:-1]})"
        height = 2.6 if made.momentum_at(0) is None else 3.8
        figure = plot.schedule(made, STEPS, metrics=example.metrics, title=title, size=(6.4, height))
        path = schedules / f"{example.name}.png"
        figure.savefig(path, dpi=72)
        reduce_colours(path)
    path = folder / "training-step.png"
    draw_passes().savefig(path, dpi=90)
    reduce_colours(path)
    (saddle.at_the_saddle() + saddle.in_the_ravine()).save(folder / "saddle.gif", frames=60, fps=12, dpi=56)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
