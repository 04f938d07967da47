"""How the project's pictures look, and where they may be written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ravine._extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")

# Colours that colour-blind people tell apart (Okabe & Ito 2008, "Color Universal Design").
BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#222222",
)
COLORS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY, BLACK)
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))
MUTED = "#666666"

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}

HEADING: dict[str, Any] = {"x": 0.008, "ha": "left", "fontsize": 14, "fontweight": "bold"}

LINE_STYLES = [  # neighbours differ in both, so that of two curves that coincide both are seen
    {"color": COLORS[i % len(COLORS)], "linestyle": DASHES[i % len(DASHES)]} for i in range(len(COLORS) * len(DASHES))
]


def style() -> Any:
    """Return the context in which to draw: not the user's settings, but those of this module."""
    return require("matplotlib.style", "plot").context(STYLE, after_reset=True)


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of its own, which leaves the user's matplotlib backend alone; sizes in inches."""
    figure: Figure = require("matplotlib.figure", "plot").Figure(figsize=(width, height), layout="constrained")
    return figure


def whole_ticks(axes: Axes, number: int = 6) -> None:
    """Put at most so many ticks on the x axis, at whole numbers."""
    axes.xaxis.set_major_locator(require("matplotlib.ticker", "plot").MaxNLocator(number, integer=True))


def save(figure: Figure, path: Path) -> None:
    """Write a picture to a file, in the format that its name tells."""
    figure.savefig(path, dpi=120, bbox_inches="tight", pad_inches=0.15)


def reduce_colours(path: Path, colours: int = 32) -> None:
    """Write a picture again with so few colours, which is enough for lines and makes a small file."""
    from PIL import Image  # noqa: PLC0415  (comes with matplotlib, an extra)

    with Image.open(path) as image:
        image.convert("RGB").quantize(colours).save(path, optimize=True)


def why_not_writable(path: Path, suffixes: Sequence[str] = SUFFIXES) -> str | None:
    """Return what is wrong with a name for the picture, or None."""
    if path.suffix.lower() not in suffixes:
        return f"expected a name that ends in {', '.join(suffixes)}"
    if not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}"
    if path.is_dir():
        return "expected a file; this is a folder"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "there is no permission to write there"
    return None
