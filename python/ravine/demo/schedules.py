"""`ravine demo schedules`: all schedules in one picture."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ravine import _figures
from ravine._extras import require
from ravine._figures import BLUE, MUTED, ORANGE
from ravine.plot._schedule import look_ahead
from ravine.plot.command import construct, new_optimizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS = 100


class Example(NamedTuple):
    """A schedule as the gallery shows it: an expression as the command line takes it."""

    text: str
    metrics: Callable[[int], float] | None = None

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.text.partition("(")[0]


def _loss(t: int) -> float:
    """Return a loss that falls for 15 steps and stalls for 20, again and again."""
    return 1 / (1 + 15 * (t // 35) + min(t % 35, 15))


GALLERY = (
    Example("LambdaLR(lambda t: 1 / (1 + 0.1 * t))"),
    Example("MultiplicativeLR(lambda t: 0.95 if t < 50 else 1)"),
    Example("StepLR(step_size=25, gamma=0.4)"),
    Example("MultiStepLR(milestones=[30, 50, 80], gamma=0.4)"),
    Example("ConstantLR(factor=0.3, total_iters=40)"),
    Example("LinearLR(start_factor=0.1, total_iters=60)"),
    Example("ExponentialLR(gamma=0.96)"),
    Example("PolynomialLR(total_iters=80, power=2)"),
    Example("CosineAnnealingLR(T_max=50)"),
    Example("CosineAnnealingWarmRestarts(T_0=14, T_mult=2)"),
    Example("CyclicLR(base_lr=0.01, max_lr=0.1, step_size_up=12, mode='triangular2')"),
    Example("OneCycleLR(max_lr=0.1, total_steps=100)"),
    Example("ReduceLROnPlateau(factor=0.5, patience=8)", _loss),
    Example("SequentialLR([ConstantLR(0.3, 99), ExponentialLR(0.95)], milestones=[25])"),
    Example("ChainedScheduler([LinearLR(0.1, 1, 30), StepLR(25, 0.6)])"),
    Example("OneCycleLR(0.1, 100, anneal_strategy='linear', three_phase=True)"),
    Example("SWALR(swa_lr=0.03, anneal_epochs=60)"),
    Example("WarmupLR(StepLR(25, 0.5), warmup_steps=20)"),
    Example("WarmupLR(ConstantLR(1), 60, start_factor=0.01, strategy='exponential')"),
    Example("CosineWarmupLR(warmup_steps=15, total_steps=100)"),
    Example("CosineHardRestartsLR(warmup_steps=10, total_steps=100, num_cycles=3)"),
    Example("InverseSqrtLR(warmup_steps=15)"),
    Example("WarmupStableDecayLR(warmup_steps=10, stable_steps=50, decay_steps=40)"),
    Example("REXLR(total_steps=100)"),
)


def add_parser(subparsers: Any) -> None:
    """Add the command to those of `ravine demo`."""
    parser = subparsers.add_parser(
        "schedules",
        help="see all learning-rate schedules in one picture",
        description="Draw every learning-rate schedule, and the momentum where one moves it.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("ravine-schedules.png"),
        metavar="FILE",
        help="where the picture goes (default: %(default)s)",
    )
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    problem = _figures.why_not_writable(arguments.output)
    if problem:
        parser.error(f"argument --output: {str(arguments.output)!r}; {problem}")
    require("matplotlib.figure", "demo")
    _figures.save(draw_gallery(GALLERY), arguments.output)
    print(f"{len(GALLERY)} schedules\npicture: {arguments.output}")


def draw_gallery(examples: Sequence[Example], columns: int = 4) -> Figure:
    """Draw schedules over 100 steps, each in a panel of its own under the expression that makes it."""
    rows = math.ceil(len(examples) / columns)
    with _figures.style():
        figure = _figures.new_figure(4.3 * columns, 2.5 * rows + 0.6)
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
        figure.suptitle("Learning-rate schedules: initial learning rate 0.1, 100 steps", **_figures.HEADING)
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, example in zip(panels.flat, examples, strict=False):
            draw_example(axes, example)
        for axes in panels.flat[len(examples) :]:
            axes.set_axis_off()
        for i in range(max(0, len(examples) - columns), len(examples)):
            panels.flat[i].set_xlabel("step")
    return figure


def draw_example(axes: Axes, example: Example) -> None:
    """Draw one schedule, with the momentum on an axis at the right where it moves."""
    curves = look_ahead(construct(example.text, new_optimizer()), STEPS, example.metrics)
    axes.plot(curves.values[0], color=BLUE)
    axes.set_ylim(-0.003, 1.08 * max(curves.values[0]))
    axes.set_title(example.name, pad=20)
    call = example.text.partition("(")[2][:-1]
    size = 8.5 if len(call) < 58 else 7
    axes.text(0, 1.035, call, transform=axes.transAxes, color=MUTED, fontsize=size)
    axes.set_yticks([0, 0.05, 0.1])
    if curves.momentum is not None:
        right = axes.twinx()
        right.plot(curves.momentum[0], color=ORANGE, linestyle=_figures.DASHES[1])
        right.grid(False)
        right.set(ylim=(0.7, 1.0), yticks=[0.8, 0.9, 1.0])
        right.tick_params(colors=ORANGE)
        right.spines["right"].set_visible(True)
        right.spines["right"].set_color(ORANGE)
        right.set_ylabel("momentum", color=ORANGE)
        axes.tick_params(axis="y", colors=BLUE)
        axes.set_ylabel("lr", color=BLUE)
