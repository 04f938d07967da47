"""Schedules against the step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ravine import _figures
from ravine._hyper import at_least
from ravine.optim.lr_scheduler import HyperparameterScheduler, LRScheduler, ReduceLROnPlateau
from ravine.optim.lr_scheduler._momentum import get_momentum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scheduler = LRScheduler | HyperparameterScheduler
Metrics = Callable[[int], float] | Sequence[float]

MARKED = 40  # up to so many steps are marked one by one


def schedule(
    schedules: Scheduler | Sequence[Scheduler] | Mapping[str, Scheduler],
    steps: int,
    *,
    metrics: Metrics | None = None,
    title: str | None = None,
    size: tuple[float, float] = (8.0, 4.5),
) -> Figure:
    """Draw the learning rate that schedules will set, and the momentum where one moves it.

    Nothing is stepped and nothing changes. Groups of different learning rates are drawn each for itself.

    Args:
        schedules: one or several schedules, or a dict from the label in the picture to the schedule.
        steps: how many steps to draw, from step 0; 1 or more.
        metrics: for `ReduceLROnPlateau`, alone or as a part: what its metric will be at each step, as a function of the
            step or a list.
        title: above the picture; the classes' names without it.
        size: width and height in inches.

    Returns:
        A matplotlib figure; `figure.savefig("schedule.png")` writes it.

    Raises:
        TypeError, ValueError: an argument cannot be used, or a schedule needs `metrics`.
        MissingExtraError: matplotlib is not installed.
    """
    steps = at_least(1)("plot.schedule: steps", steps)
    named = _named(schedules)
    curves: list[tuple[str, Curves]] = []
    for label, one in named.items():
        curves.append((label, look_ahead(one, steps, metrics)))
    with _figures.style():
        figure = _figures.new_figure(*size)
        moving = [(label, found.momentum) for label, found in curves if found.momentum is not None]
        parts: Any = figure.subplots(2 if moving else 1, 1, sharex=True, squeeze=False)
        axes: list[Axes] = list(parts.flat)
        styles = iter(_figures.LINE_STYLES * len(curves))
        several = len(named) > 1
        used: dict[str, Any] = {}
        lines = 0
        for label, found in curves:
            lines += draw(axes[0], found.values, label if several else "", styles, used)
        if several or lines > 1:
            axes[0].legend(**_beside(lines))
        names = {found.name for _, found in curves}
        axes[0].set(ylabel=" or ".join(sorted(names)), title=_wrapped(title or ", ".join(_kinds(named)), size[0]))
        if moving:
            for label, values in moving:
                draw(axes[1], values, label if several else "", styles, used)
            axes[1].set(ylabel="momentum")
            _fit(axes[1], [values for _, values in moving])
        _fit(axes[0], [found.values for _, found in curves])
        axes[-1].set_xlabel("step")
        _figures.whole_ticks(axes[-1], 10)
    return figure


class Curves:
    """What a schedule sets: for each group its values at steps 0, 1, ..."""

    def __init__(self, name: str, values: list[list[float]], momentum: list[list[float]] | None) -> None:
        self.name, self.values, self.momentum = name, values, momentum


def look_ahead(scheduler: Scheduler, steps: int, metrics: Metrics | None) -> Curves:
    """Return what a schedule will set at steps 0, 1, ... as long as nobody else changes it."""
    name = scheduler.name if isinstance(scheduler, HyperparameterScheduler) else "learning rate"
    driver = scheduler.schedule if isinstance(scheduler, HyperparameterScheduler) else scheduler
    if driver._needs_metrics():
        rows, momenta = _run(driver, steps, metrics)
    else:
        rows = [driver.lr_at(t) for t in range(steps)]
        momenta = [driver.momentum_at(t) for t in range(steps)]
    known = [values for values in momenta if values is not None]
    momentum = None
    if known:
        # Before the first step that moves it, it is what it is then; later it stays.
        held, filled = known[0], []
        for values in momenta:
            held = held if values is None else values
            filled.append(held)
        momentum = [list(column) for column in zip(*filled, strict=True)]
    return Curves(name, [list(column) for column in zip(*rows, strict=True)], momentum)


def _run(driver: LRScheduler, steps: int, metrics: Metrics | None) -> tuple[list[list[float]], list[Any]]:
    """Step a schedule that has to be told how the training goes, and put everything back."""
    if metrics is None or (not callable(metrics) and len(metrics) < steps - 1):
        raise ValueError(
            f"plot.schedule: {type(driver).__name__} depends on the metrics; give metrics=, a function of the step or "
            f"a list of {steps - 1}."
        )
    values = [float(metrics(t) if callable(metrics) else metrics[t]) for t in range(steps - 1)]
    before = driver.state_dict()
    groups = driver.optimizer.param_groups
    rows, momenta = [], []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of stepping before the optimizer
            for t in range(steps):
                rows.append([float(group["lr"]) for group in groups])
                moves = driver._cycles_momentum()
                momenta.append([get_momentum(driver.optimizer, group) for group in groups] if moves else None)
                if t < steps - 1:
                    if isinstance(driver, ReduceLROnPlateau):
                        driver.step(values[t])
                    else:
                        driver.step(metrics=values[t])  # type: ignore[call-arg]  # a composition, which takes them
    finally:
        driver.load_state_dict(before)
    return rows, momenta


def _named(schedules: Any) -> dict[str, Scheduler]:
    if isinstance(schedules, Scheduler):
        schedules = [schedules]
    if isinstance(schedules, Mapping):
        named = {str(label): one for label, one in schedules.items()}
    elif isinstance(schedules, Sequence):
        kinds = [_kind(one) for one in schedules]
        repeated = {kind for kind in kinds if kinds.count(kind) > 1}
        named = {
            f"{kind} {kinds[: i + 1].count(kind)}" if kind in repeated else kind: one
            for i, (kind, one) in enumerate(zip(kinds, schedules, strict=True))
        }
    else:
        named = {"": schedules}
    for one in named.values():
        if not isinstance(one, Scheduler):
            raise TypeError(f"plot.schedule: schedules has a {type(one).__name__}; expected schedules of ravine.optim.")
    if not named:
        raise ValueError("plot.schedule: schedules is empty; give one schedule or more.")
    return named


def _kind(one: Any) -> str:
    return (
        f"{type(one.schedule).__name__} ({one.name})"
        if isinstance(one, HyperparameterScheduler)
        else type(one).__name__
    )


def _kinds(named: Mapping[str, Scheduler]) -> list[str]:
    return list(dict.fromkeys(_kind(one) for one in named.values()))


def draw(axes: Axes, columns: list[list[float]], label: str, styles: Any, used: dict[str, Any]) -> int:
    """Draw a schedule's values, one line for each group that differs; return how many."""
    distinct = {tuple(column): [i for i, other in enumerate(columns) if other == column] for column in columns}
    for column, groups in distinct.items():
        name = label
        if len(distinct) > 1:
            which = f"group {groups[0]}" if len(groups) == 1 else f"groups {', '.join(map(str, groups))}"
            name = f"{label}, {which}" if label else which
        if name not in used:
            used[name] = next(styles)
        axes.plot(
            range(len(column)),
            column,
            label=name,
            marker="o" if len(column) <= MARKED else None,
            markersize=3,
            **used[name],
        )
    return len(distinct)


def _wrapped(title: str, width: float) -> str:
    """Break a title that is longer than a figure of so many inches is wide."""
    characters = int(7.3 * width)
    lines: list[str] = []
    for word in title.split(" "):
        if lines and len(lines[-1]) + len(word) < characters:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def _fit(axes: Axes, curves: list[list[list[float]]]) -> None:
    """Show 0 where that is not far from the curves."""
    values = [value for columns in curves for column in columns for value in column]
    axes.margins(x=0.02)
    if min(values) < 0.5 * max(values):
        axes.set_ylim(bottom=-0.02 * max(values))  # a line at 0 is seen whole


def _beside(lines: int) -> dict[str, Any]:
    """Place a legend where no curve goes."""
    return {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2, "ncols": 1 + lines // 16}
