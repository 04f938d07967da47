"""Pictures of trainings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ravine._extras import require
from ravine._figures import (
    BLACK,
    BLUE,
    DASHES,
    GREEN,
    HEADING,
    LINE_STYLES,
    MUTED,
    ORANGE,
    STYLE,
    new_figure,
    style,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from ravine.demo.training import Run

Array = np.ndarray[Any, Any]

ROW = 0.28  # height of a table's row in inches

IMAGES = 14  # in the strip


class Column(NamedTuple):
    """A column of the table of a comparison: its heading, of two lines or one, and what it says of a training."""

    heading: str
    cell: Callable[[Run], str]


def count(number: int, thing: str) -> str:
    """Return a number of things in words."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def draw_run(run: Run, images: Array, labels: Array, predicted: Array) -> Figure:
    """Draw one training: loss, accuracy and learning rate against epochs, and some held-out images.

    Args:
        run: the training.
        images: the held-out images, of shape (number, height, width).
        labels: what they show.
        predicted: what the network takes them for.
    """
    with style():
        width = 12 if run.ema is None else 14.5
        height = 6.0 if run.clip_norm is None else 7.5
        figure = new_figure(width, height)
        parts: Any = figure.subfigures(2, 1, height_ratios=(height - 1.4, 1.4), hspace=0.03)
        curves, strip = parts
        heading = f"{run.held_out_accuracy[-1]:.1%} of the held-out digits read correctly"
        if run.ema_accuracy:
            heading += f", {run.ema_accuracy[-1]:.1%} with averaged weights"
        curves.suptitle(heading, **HEADING)
        about = (
            f"{run.design}, {run.optimizer}, {run.batches}, {count(run.epochs, 'epoch')} in {sum(run.seconds):.2g} s"
        )
        curves.text(0.992, 0.98, about, ha="right", va="top", color=MUTED)
        if run.clip_norm is None:
            loss, accuracy, lr = curves.subplots(1, 3)
        else:
            panels = curves.subplot_mosaic(
                [["loss", "accuracy", "lr"], ["norm", "accuracy", "lr"]], height_ratios=(2, 1)
            )
            loss, accuracy, lr = panels["loss"], panels["accuracy"], panels["lr"]
            panels["norm"].sharex(loss)
            _draw_norms(panels["norm"], run, run.clip_norm)
        for axes, train, held_out, averaged in (
            (loss, run.train_loss, run.held_out_loss, run.ema_loss),
            (accuracy, run.train_accuracy, run.held_out_accuracy, run.ema_accuracy),
        ):
            _plot(axes, range(run.epochs + 1), train, color=BLUE, label="train")
            _plot(axes, range(run.epochs + 1), held_out, color=ORANGE, linestyle=DASHES[1], label="held out")
            if averaged:
                _plot(axes, range(run.epochs + 1), averaged, color=GREEN, linestyle=DASHES[2], label=f"ema {run.ema:g}")
            _put_legend_beside_title(axes)
        _label_loss(loss, "Loss")
        _label_epochs(loss)
        accuracies = [run.train_accuracy, run.held_out_accuracy, run.ema_accuracy]
        _label_accuracy(accuracy, "Accuracy", [curve for curve in accuracies if curve])
        _label_epochs(accuracy)
        lr.stairs(run.lrs, range(run.epochs + 1), baseline=None, color=GREEN, linewidth=STYLE["lines.linewidth"])
        lr.set(title="Learning rate", ylabel="lr", ylim=(0, 1.08 * max(run.lrs)))
        _label_epochs(lr)
        _draw_images(strip, images, labels, predicted)
    return figure


def _draw_norms(axes: Axes, run: Run, clip_norm: float) -> None:
    """Draw the norm of the gradients in each step, and which of them were clipped."""
    ends = np.arange(1, len(run.norms) + 1) / run.steps  # of the steps, in epochs
    norms, clipped = np.array(run.norms), np.array(run.clipped)
    axes.axhline(clip_norm, color=MUTED, linestyle=DASHES[1], linewidth=1)
    axes.plot(ends[~clipped], norms[~clipped], ".", color=BLUE, markersize=4)
    axes.plot(ends[clipped], norms[clipped], ".", color=ORANGE, markersize=4, label=f"clipped to {clip_norm:g}")
    axes.set(title="Gradient norm", ylabel="norm", yscale="log")
    low, high = axes.get_ylim()
    labelled = (1, 3) if high < 1000 * low else (1,)
    axes.yaxis.set_major_locator(require("matplotlib.ticker", "demo").LogLocator(subs=labelled))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda *_: "")
    _put_legend_beside_title(axes)
    _label_epochs(axes)


def _put_legend_beside_title(axes: Axes) -> None:
    """Put the legend where no curve goes."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2, columnspacing=1, handlelength=1.6)


def draw_comparison(
    groups: Mapping[str, Mapping[str, Run]], columns: Sequence[Column], one_scale: Sequence[str] = ()
) -> Figure:
    """Draw trainings side by side, their groups one below the other.

    Args:
        groups: by heading, trainings by name.
        columns: of the table beside the curves.
        one_scale: the headings of groups whose losses and accuracies are drawn to one scale.
    """
    together = [run for heading in one_scale for run in groups[heading].values()]
    heights = [max(3.8, 1.3 + ROW * len(runs)) for runs in groups.values()]
    with style():
        figure = new_figure(17, sum(heights))
        parts: Any = figure.subfigures(len(groups), 1, height_ratios=heights, hspace=0.04)
        for part, height, (heading, runs) in zip(parts, heights, groups.items(), strict=True):
            in_scale = together if heading in one_scale else list(runs.values())
            _draw_side_by_side(part, height, heading, runs, in_scale, columns)
    return figure


def _draw_side_by_side(
    figure: SubFigure,
    height: float,
    heading: str,
    runs: Mapping[str, Run],
    in_scale: Sequence[Run],
    columns: Sequence[Column],
) -> None:
    """Draw trainings; the scales of loss and accuracy have room for all those in `in_scale`."""
    figure.suptitle(heading, **HEADING)
    loss, loss_in_time, accuracy, table = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.9))
    styles = dict(zip(runs, itertools.cycle(LINE_STYLES), strict=False))
    for name, run in runs.items():
        epochs = range(run.epochs + 1)
        _plot(loss, epochs, run.train_loss, **styles[name])
        _plot(loss_in_time, np.cumsum([0.0, *run.seconds]), run.train_loss, **styles[name])
        _plot(accuracy, epochs, run.held_out_accuracy, **styles[name])
    losses = [value for run in in_scale for value in run.train_loss if np.isfinite(value)]
    for axes, title in ((loss, "Training loss"), (loss_in_time, "Training loss in time")):
        _label_loss(axes, title)
        axes.set_ylim(min(losses) / 1.5, max(losses) * 1.5)
    _label_epochs(loss)
    loss_in_time.set_xlabel("seconds")
    _spread_time(loss_in_time, [sum(run.seconds) for run in runs.values()])
    _label_accuracy(accuracy, "Held-out accuracy", [run.held_out_accuracy for run in in_scale])
    _label_epochs(accuracy)
    table.set(xlim=(0, 1), ylim=((height - 1) / ROW, 0))
    _draw_table(table, runs, styles, columns)


def _plot(axes: Axes, x: Sequence[float] | Array, y: Sequence[float], **style: Any) -> None:
    """Draw a curve, with its points marked where they are few."""
    axes.plot(x, y, marker="o" if len(y) < 5 else None, markersize=4, **style)


def _label_epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    whole_ticks(axes)


def _spread_time(axes: Axes, seconds: Sequence[float]) -> None:
    """Give short trainings room beside much longer ones."""
    if max(seconds) > 10 * min(seconds):
        axes.set_xscale("log", nonpositive="mask")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _label_loss(axes: Axes, title: str) -> None:
    axes.set(title=title, ylabel="cross-entropy", yscale="log")


def _label_accuracy(axes: Axes, title: str, curves: Sequence[Sequence[float]]) -> None:
    """Label accuracies, and leave the first epochs out of sight: what matters is close to 100 %."""
    lowest = min(min(curve[len(curve) // 10 :]) for curve in curves)
    margin = 0.05 * (1 - lowest) + 0.0005  # too little for a tick above 100 %
    axes.set(title=title, ylabel="read correctly", ylim=(lowest - margin, 1 + margin))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def _draw_table(
    axes: Axes, runs: Mapping[str, Run], styles: Mapping[str, Mapping[str, Any]], columns: Sequence[Column]
) -> None:
    """Write what the curves are and how the trainings went: legend and table in one."""
    axes.set_axis_off()
    ends = np.linspace(0.49, 1, len(columns))
    for x, column in zip(ends, columns, strict=True):
        axes.text(x, 1.1, column.heading, ha="right", va="bottom", color=MUTED)
    for row, (name, run) in enumerate(runs.items(), start=1):
        y = row + 1
        axes.plot((0.0, 0.08), (y, y), **styles[name])
        axes.text(0.1, y, name, va="center")
        for x, column in zip(ends, columns, strict=True):
            axes.text(x, y, column.cell(run), ha="right", va="center")


def _draw_images(figure: SubFigure, images: Array, labels: Array, predicted: Array) -> None:
    """Draw a row of images with what the network takes them for: first some of its mistakes, then some it got right."""
    wrong = np.flatnonzero(predicted != labels)[: IMAGES // 2]
    right = np.flatnonzero(predicted == labels)[: IMAGES - len(wrong)]
    chosen = [*wrong, *right]
    figure.suptitle(
        "What the network reads in held-out images: mistakes (framed), then others", **{**HEADING, "fontsize": 12}
    )
    for axes, i in zip(figure.subplots(1, len(chosen), squeeze=False).flat, chosen, strict=True):
        axes.imshow(images[i], cmap="gray_r")
        axes.set_anchor("N")
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
        mistaken = predicted[i] != labels[i]
        axes.spines[:].set(visible=True, color=ORANGE if mistaken else "#cccccc", linewidth=2.5 if mistaken else 0.8)
        axes.set_xlabel(
            f"{predicted[i]}, is {labels[i]}" if mistaken else f"{predicted[i]}",
            color=ORANGE if mistaken else BLACK,
            fontweight="bold" if mistaken else "normal",
        )
