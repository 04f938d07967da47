"""What a picture shows, for tests: they are skipped where matplotlib is not installed."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")


def lines(axes):
    """Return the curves of a picture by label."""
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def overlaps(figure):
    """Return pairs of texts that lie on one another."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axis_of_all = [axis for axes in figure.axes for axis in axes._axis_map.values()]
    ticks = {text for axis in axis_of_all for text in axis.findobj(Text)}
    shown = [axis for axis in axis_of_all if axis.get_visible()]
    drawn = {text for axis in shown for tick in axis._update_ticks() for text in tick.findobj(Text)}
    drawn |= {axis.label for axis in shown}
    texts = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and (text not in ticks or text in drawn)
    ]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    width, height = canvas.get_width_height()
    inside = [(name, box) for name, box in boxes if box.x1 > 0 and box.y1 > 0 and box.x0 < width and box.y0 < height]
    return [
        (a, b)
        for i, (a, box) in enumerate(inside)
        for b, other in inside[i + 1 :]
        if min(box.x1, other.x1) - max(box.x0, other.x0) > 1 and min(box.y1, other.y1) - max(box.y0, other.y0) > 1
    ]
