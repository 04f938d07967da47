"""Optimizers on their way over a loss surface: still pictures and animations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ravine import _figures
from ravine._extras import require
from ravine._figures import BLACK, MUTED
from ravine._hyper import at_least, one_of, positive
from ravine.optim import Optimizer
from ravine.plot._surfaces import Surface, surface_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
View = Literal["2d", "3d", "both"]
Make = Callable[[list[Array]], Optimizer]

GRID = 181  # points along each side of a surface
LEVELS = 22  # contours
FADED = "#f8f8f8", "#b4bcc4"  # the surface from its lowest to its highest place: the paths have the colours
GREYS_OF_A_GIF = 128


def trajectories(
    surface: str | Surface,
    optimizers: Mapping[str, Make],
    steps: int = 100,
    *,
    start: tuple[float, float] | None = None,
    view: View = "both",
    title: str | None = None,
) -> Trajectories:
    """Let optimizers run over a loss surface, all from one place.

        plot.trajectories("saddle", {"SGD": lambda p: optim.SGD(p, lr=0.02)}).save("saddle.gif")

    Args:
        surface: "saddle", "ravine", "beale", "rosenbrock", "himmelblau", or a `plot.Surface` of your own.
        optimizers: from the label in the picture to a function that constructs an optimizer from a list of parameters.
        steps: how many steps to run; 1 or more.
        start: where from; the surface's own start without it.
        view: "2d" (contours), "3d", or "both" side by side.
        title: above the picture; the surface's name without it.

    Returns:
        The paths; their method `save` draws them.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """
    where = "plot.trajectories: "
    where_to = surface_of(where, surface)
    steps = at_least(1)(where + "steps", steps)
    one_of("2d", "3d", "both")(where + "view", view)
    if not isinstance(optimizers, Mapping) or not optimizers:
        raise TypeError(
            f"{where}optimizers={optimizers!r}; expected a dict from labels to functions of the parameters."
        )
    begin = np.array(where_to.start if start is None else start, np.float64)
    if begin.shape != (2,) or not np.isfinite(begin).all():
        raise ValueError(f"{where}start={start!r}; expected two finite numbers.")
    paths = {label: _run(where, where_to, label, make, begin, steps) for label, make in optimizers.items()}
    return Trajectories([Panel(where_to, paths, title or where_to.name, view)])


def _run(where: str, surface: Surface, label: str, make: Make, begin: Array, steps: int) -> Array:
    """Return the points of a run, of shape (steps + 1, 2); NaN after it has left all bounds."""
    point = begin.copy()
    optimizer = make([point])
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{where}optimizers[{label!r}] made a {type(optimizer).__name__}; expected a ravine.optim optimizer."
        )
    path = np.full((steps + 1, 2), np.nan)
    path[0] = begin
    far = 1e6 * (1 + np.abs([*surface.x, *surface.y]).max())

    def gradients() -> list[Array]:
        return [np.array(surface.gradient(*point.tolist()))]

    def closure() -> tuple[float, list[Array]]:
        return float(surface.value(*point.tolist())), gradients()

    for t in range(1, steps + 1):
        optimizer.step(closure if optimizer._needs_closure else gradients())
        if not (np.abs(point) < far).all():
            break
        path[t] = point
    return path


class Panel:
    """One surface with the paths over it, in one view or two.

    Args:
        surface: the surface.
        paths: the points of each run, of shape (steps + 1, 2), by label.
        title: above it.
        view: "2d", "3d" or "both".
    """

    def __init__(self, surface: Surface, paths: Mapping[str, Array], title: str, view: View) -> None:
        self.surface, self.paths, self.title, self.view = surface, dict(paths), title, view
        x, y = np.linspace(*surface.x, GRID), np.linspace(*surface.y, GRID)
        self.mesh = np.meshgrid(x, y)
        self.heights = np.asarray(surface.value(*self.mesh))
        # As much ground between any two contours: they show steep and flat places alike.
        self.levels = np.unique(np.quantile(self.heights, np.linspace(0, 1, LEVELS)))
        # Walls much higher than most of it would hide it.
        self.top = min(float(self.heights.max()), 2 * float(np.quantile(self.heights, 0.9)))

    @property
    def views(self) -> list[str]:
        """The pictures it consists of."""
        return ["2d", "3d"] if self.view == "both" else [self.view]


class Trajectories:
    """The paths of optimizers over loss surfaces.

    Attributes:
        paths: the points (x, y) of each run from step 0 on, by label, as an array of shape (steps + 1, 2); NaN from
            where it has left all bounds.
    """

    def __init__(self, panels: Sequence[Panel]) -> None:
        self._panels = list(panels)
        self.paths = self._panels[0].paths

    def __add__(self, other: Trajectories) -> Trajectories:
        """Return one picture with both, side by side."""
        return Trajectories([*self._panels, *other._panels])

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return max(len(path) for panel in self._panels for path in panel.paths.values()) - 1

    def figure(self) -> Figure:
        """Return the whole runs as a matplotlib figure."""
        figure, _ = self._draw(self.steps)
        return figure

    def save(self, path: str | Path, *, frames: int = 80, fps: float = 16, dpi: int = 80) -> None:
        """Write the picture to a file: an animation to .gif, a still picture to .png, .pdf or .svg.

        Args:
            path: the file; what its name ends in says which.
            frames: how many pictures an animation has at most; it shows the last one for two seconds.
            fps: how many of them a second.
            dpi: dots per inch, of an animation.

        Raises:
            ValueError: the file cannot be written.
            MissingExtraError: matplotlib is not installed.
        """
        target = Path(path)
        problem = _figures.why_not_writable(target, (".gif", *_figures.SUFFIXES))
        if problem:
            raise ValueError(f"path={str(target)!r}; {problem}.")
        if target.suffix.lower() == ".gif":
            frames = at_least(2)("frames", frames)
            self._save_gif(target, frames, positive("fps", fps), at_least(20)("dpi", dpi))
        else:
            _figures.save(self.figure(), target)

    def _draw(self, step: int) -> tuple[Figure, list[Drawn]]:
        columns = [(panel, view) for panel in self._panels for view in panel.views]
        with _figures.style():
            figure = _figures.new_figure(5.2 * len(columns), 5.4)
            figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.1)
            drawn: list[Drawn] = []
            styles = self._styles()
            for i, (panel, view) in enumerate(columns, start=1):
                axes: Any = figure.add_subplot(1, len(columns), i, projection="3d" if view == "3d" else None)
                kind = Drawn3D if view == "3d" else Drawn2D
                drawn.append(kind(axes, panel, styles))
            shown = {line.get_label(): line for one in drawn for line in one.lines.values()}
            shown |= {mark.get_label(): mark for one in drawn for mark in one.marks.values()}
            figure.legend(
                list(shown.values()),
                list(shown),
                loc="outside lower center",
                ncols=min(len(shown), 4 * len(columns)),
                fontsize=10.5,
            )
            for one in drawn:
                one.show(step)
        return figure, drawn

    def _styles(self) -> dict[str, dict[str, Any]]:
        labels = dict.fromkeys(label for panel in self._panels for label in panel.paths)
        return {label: _figures.LINE_STYLES[i % len(_figures.LINE_STYLES)] for i, label in enumerate(labels)}

    def _save_gif(self, target: Path, frames: int, fps: float, dpi: int) -> None:
        images = require("PIL.Image", "plot")
        canvas_of = require("matplotlib.backends.backend_agg", "plot").FigureCanvasAgg
        figure, drawn = self._draw(self.steps)
        figure.set_dpi(dpi)
        canvas = canvas_of(figure)
        canvas.draw()
        figure.set_layout_engine("none")  # as it is now; it must not move from frame to frame
        moving = [artist for one in drawn for artist in (*one.lines.values(), *one.heads.values())]
        for artist in moving:
            artist.set_animated(True)
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)

        def shot(step: int) -> Any:
            canvas.restore_region(still)
            for one in drawn:
                one.show(step)
            for artist in moving:
                artist.axes.draw_artist(artist)
            return images.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())

        count = min(frames, self.steps + 1)
        steps = [round(i * self.steps / (count - 1)) for i in range(count)]
        # One palette for all frames: what does not move takes no room in the file.
        palette = _palette(shot(0), self._styles().values())
        shots = [shot(step).quantize(palette=palette, dither=images.Dither.NONE) for step in steps]
        pause = round(1000 / fps)
        shots[0].save(
            target,
            save_all=True,
            append_images=shots[1:],
            duration=[pause] * (len(shots) - 1) + [2000],
            loop=0,
            optimize=True,
        )


class Drawn:
    """A surface that is drawn, with the paths so far."""

    def __init__(self, axes: Any, panel: Panel, styles: Mapping[str, dict[str, Any]]) -> None:
        self.axes, self.panel = axes, panel
        self.lines: dict[str, Any] = {}
        self.heads: dict[str, Any] = {}
        self.marks: dict[str, Any] = {}

    def show(self, step: int) -> None:
        """Show the paths up to a step."""
        for label, path in self.panel.paths.items():
            points = path[: step + 1]
            ended = points[np.isfinite(points).all(axis=1)]
            self.place(self.lines[label], ended)
            self.place(self.heads[label], ended[-1:])

    def place(self, line: Any, points: Array) -> None:
        """Give a line its points."""
        raise NotImplementedError


class Drawn2D(Drawn):
    """Contours."""

    def __init__(self, axes: Axes, panel: Panel, styles: Mapping[str, dict[str, Any]]) -> None:
        super().__init__(axes, panel, styles)
        surface = panel.surface
        axes.contourf(*panel.mesh, panel.heights, levels=panel.levels, cmap=_colormap(), norm=_norm(panel), zorder=0)
        axes.contour(
            *panel.mesh, panel.heights, levels=panel.levels, colors="#8f99a3", linewidths=0.5, linestyles="-", zorder=1
        )
        axes.grid(False)
        begin = next(iter(panel.paths.values()))[0]
        black = {"color": BLACK, "markeredgecolor": "white"}
        marks: list[tuple[str, Any, dict[str, Any]]] = [
            ("start", [begin], {"marker": "o", "color": "white", "markeredgecolor": BLACK, "markersize": 8}),
            ("minimum", surface.minima, {"marker": "*", "markersize": 12, **black}),
            ("saddle point", surface.saddles, {"marker": "X", "markersize": 9, **black}),
        ]
        for label, points, look in marks:
            if len(points):
                (self.marks[label],) = axes.plot(*np.transpose(points), label=label, linestyle="", zorder=4, **look)
        for label, look in styles.items():
            if label in panel.paths:
                (self.lines[label],) = axes.plot([], [], label=label, zorder=6, **{**look, "linewidth": 2})
                (self.heads[label],) = axes.plot(
                    [], [], "o", color=look["color"], markersize=8, markeredgecolor="white", zorder=7
                )
        axes.set(xlim=surface.x, ylim=surface.y, xlabel="x", ylabel="y")
        axes.set_title(panel.title, pad=22)
        axes.text(0, 1.02, surface.formula, transform=axes.transAxes, color=MUTED, fontsize=9)

    def place(self, line: Any, points: Array) -> None:
        """Give a line its points."""
        line.set_data(points[:, 0], points[:, 1])


class Drawn3D(Drawn):
    """The surface in space."""

    def __init__(self, axes: Any, panel: Panel, styles: Mapping[str, dict[str, Any]]) -> None:
        super().__init__(axes, panel, styles)
        surface = panel.surface
        axes.computed_zorder = False  # paths lie on the surface, and are drawn after it
        axes.plot_surface(
            *panel.mesh,
            np.minimum(panel.heights, panel.top),
            cmap=_colormap(),
            norm=_norm(panel),
            rcount=60,
            ccount=60,
            linewidth=0.25,
            edgecolor="#8f99a3",
            antialiased=True,
            zorder=0,
        )
        for label, look in styles.items():
            if label in panel.paths:
                (self.lines[label],) = axes.plot([], [], [], label=label, zorder=6, **{**look, "linewidth": 2.2})
                (self.heads[label],) = axes.plot(
                    [], [], [], "o", color=look["color"], markersize=7, markeredgecolor="white", zorder=7
                )
        axes.view_init(elev=42, azim=surface.azimuth)
        axes.set(xlim=surface.x, ylim=surface.y, zlim=(float(panel.heights.min()), panel.top), xlabel="x", ylabel="y")
        if panel.view == "3d":
            axes.set_title(panel.title, pad=22)
        axes.tick_params(labelsize=8, pad=0)
        locator = require("matplotlib.ticker", "plot").MaxNLocator
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.set_pane_color((1, 1, 1, 0))
            axis.set_major_locator(locator(6, prune="both"))  # in the corners, numbers of two axes would meet
        axes.set_box_aspect(None, zoom=0.92)

    def place(self, line: Any, points: Array) -> None:
        """Give a line its points, as far as they are in the picture."""
        surface = self.panel.surface
        inside = (
            (points[:, 0] >= surface.x[0])
            & (points[:, 0] <= surface.x[1])
            & (points[:, 1] >= surface.y[0])
            & (points[:, 1] <= surface.y[1])
        )
        heights = np.asarray(surface.value(points[:, 0], points[:, 1]), np.float64)
        shown = inside & (heights <= self.panel.top)
        line.set_data_3d(*np.where(shown, np.array([points[:, 0], points[:, 1], heights]), np.nan))


def _palette(still: Any, looks: Iterable[Mapping[str, Any]]) -> Any:
    """Return an image with the palette of an animation: that of a frame, and the colours of the paths on any ground.

    Counting pixels would miss the paths, of which there are few.
    """
    rgb = require("matplotlib.colors", "plot").to_rgb
    found = still.quantize(GREYS_OF_A_GIF)
    colors = np.array(found.getpalette()[: 3 * GREYS_OF_A_GIF], np.float64).reshape(-1, 3)
    paths = np.array([rgb(look["color"]) for look in looks]) * 255
    grounds = np.array([rgb(ground) for ground in ("white", *FADED)]) * 255
    mixed = [share * paths + (1 - share) * ground for share in (1.0, 0.8, 0.6) for ground in grounds]
    ends = np.array([[0, 0, 0], [255, 255, 255]])
    table = np.unique(np.concatenate([ends, colors, *mixed]).round().astype(np.uint8), axis=0)[:255]
    palette = require("PIL.Image", "plot").new("P", (1, 1))
    palette.putpalette(table.tobytes() + table[:1].tobytes() * (256 - len(table)))
    return palette


def _colormap() -> Any:
    return require("matplotlib.colors", "plot").LinearSegmentedColormap.from_list("faded", FADED)


def _norm(panel: Panel) -> Any:
    return require("matplotlib.colors", "plot").BoundaryNorm(panel.levels, 256)
