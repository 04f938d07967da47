"""`ravine plot`: any schedule from the command line."""

from __future__ import annotations

import argparse
import functools
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ravine import _figures, optim
from ravine._expressions import evaluate
from ravine._extras import require
from ravine.optim import lr_scheduler, swa_utils
from ravine.optim.lr_scheduler import LRScheduler
from ravine.plot._schedule import schedule as draw_schedule

STEPS = 100
LR = 0.1

# What tells how long a schedule is.
LENGTHS = ("total_steps", "T_max", "total_iters")

_OTHERS = ("LRScheduler", "HyperparameterScheduler")
SCHEDULES: dict[str, type[LRScheduler]] = {
    **{name: getattr(lr_scheduler, name) for name in sorted(lr_scheduler.__all__) if name not in _OTHERS},
    "SWALR": swa_utils.SWALR,
}


def add_parser(subparsers: Any) -> None:
    """Add the command to those of `ravine`."""
    parser = subparsers.add_parser(
        "plot",
        help="draw a learning-rate schedule before training with it",
        description="Draw the learning rate of a schedule, and the momentum where it moves that.",
        epilog="examples:\n"
        "  ravine plot OneCycleLR max_lr=0.1 total_steps=100\n"
        "  ravine plot LambdaLR 'lr_lambda=lambda epoch: 0.65 ** epoch' --lr 100 --steps 10\n"
        "  ravine plot SequentialLR 'schedulers=[LinearLR(0.1), CosineAnnealingLR(95)]' 'milestones=[5]'\n\n"
        "schedules:\n" + textwrap.fill(", ".join(SCHEDULES), initial_indent="  ", subsequent_indent="  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("schedule", choices=SCHEDULES, metavar="SCHEDULE", help="the name of a class, such as StepLR")
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="NAME=VALUE",
        help="the arguments of the class, as in Python; those without a name come first",
    )
    parser.add_argument("--lr", type=float, default=LR, help="of the optimizer (default: %(default)s)")
    parser.add_argument(
        "--steps",
        type=int,
        help=f"how many to draw (default: a tenth more than the schedule lasts where that is known, else {STEPS})",
    )
    parser.add_argument(
        "--metrics",
        metavar="LAMBDA",
        help="for ReduceLROnPlateau: the metric at each step, such as 'lambda t: max(1 / (1 + t), 0.1)'",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where the picture goes (default: ravine-SCHEDULE.png)"
    )
    parser.set_defaults(run=functools.partial(_run, parser))


def construct(text: str, optimizer: optim.Optimizer) -> LRScheduler:
    """Return the schedule that an expression such as "StepLR(step_size=30)" means, for an optimizer.

    Raises:
        TypeError, ValueError: what the schedule's class raises, or the expression is not understood.
    """
    made = evaluate(text, _constructors(optimizer))
    if not isinstance(made, LRScheduler):
        raise ValueError(f"{text!r} makes no schedule; expected one such as 'StepLR(step_size=30)'.")
    return made


def new_optimizer(lr: float = LR) -> optim.Optimizer:
    """Return an optimizer to construct schedules for, which has stepped."""
    optimizer = optim.SGD([np.zeros(1)], lr=lr, momentum=0.9)
    optimizer.step([np.zeros(1)])
    return optimizer


def length(made: LRScheduler) -> int:
    """Return how many steps of a schedule to draw."""
    lasts = next((getattr(made, name) for name in LENGTHS if hasattr(made, name)), None)
    return STEPS if lasts is None else max(10, round(1.1 * lasts))


def _constructors(optimizer: optim.Optimizer) -> dict[str, Callable[..., LRScheduler]]:
    return {name: functools.partial(_construct, kind, optimizer) for name, kind in SCHEDULES.items()}


def _construct(kind: type[LRScheduler], optimizer: optim.Optimizer, *args: Any, **kwargs: Any) -> LRScheduler:
    takes_parts = next(iter(inspect.signature(kind).parameters)) != "optimizer"
    args = args if takes_parts else (optimizer, *args)
    try:
        inspect.signature(kind).bind(*args, **kwargs)
    except TypeError as error:
        takes = ", ".join(str(p) for name, p in inspect.signature(kind).parameters.items() if name != "optimizer")
        raise TypeError(f"{kind.__name__}: {error}; it takes {takes}.") from None
    return kind(*args, **kwargs)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    output = arguments.output or Path(f"ravine-{arguments.schedule}.png")
    problem = _figures.why_not_writable(output)
    if problem:
        parser.error(f"argument --output: {str(output)!r}; {problem}")
    require("matplotlib.figure", "plot")
    try:
        optimizer = new_optimizer(arguments.lr)
        names = _constructors(optimizer)
        args, kwargs = [], {}
        for text in arguments.arguments:
            name, equals, value = text.partition("=")
            if equals and name.isidentifier():
                kwargs[name] = evaluate(value, names)
            elif kwargs:
                raise ValueError(f"{text!r} has no name; arguments without one come first.")
            else:
                args.append(evaluate(text, names))
        made = names[arguments.schedule](*args, **kwargs)
        metrics = None if arguments.metrics is None else evaluate(arguments.metrics, names)
        steps = length(made) if arguments.steps is None else arguments.steps
        title = f"{arguments.schedule}({', '.join(arguments.arguments)})"
        figure = draw_schedule(made, steps, metrics=metrics, title=title)
    except (TypeError, ValueError, ArithmeticError) as error:
        parser.error(str(error))
    _figures.save(figure, output)
    print(f"picture: {output}")
