"""`ravine demo saddle`: optimizers at a saddle point and in a long ravine."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

from ravine import _figures, optim
from ravine._extras import require
from ravine.plot import Trajectories, trajectories

STEPS = 120
OUTPUTS = (Path("ravine-saddle.gif"), Path("ravine-saddle.png"))


def add_parser(subparsers: Any) -> None:
    """Add the command to those of `ravine demo`."""
    parser = subparsers.add_parser(
        "saddle",
        help="see optimizers leave a saddle point, or not, and gather speed in a ravine",
        description="Let optimizers start beside the ridge of a saddle and at the end of a long ravine. Plain gradient "
        "descent and momentum are held at the saddle point, adaptive methods leave it; in the ravine momentum gathers "
        "speed. Writes an animation and a still picture.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"write this file only: .gif, {', '.join(_figures.SUFFIXES)} (default: {' and '.join(map(str, OUTPUTS))})",
    )
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    outputs = OUTPUTS if arguments.output is None else (arguments.output,)
    for output in outputs:
        problem = _figures.why_not_writable(output, (".gif", *_figures.SUFFIXES))
        if problem:
            parser.error(f"argument --output: {str(output)!r}; {problem}")
    require("matplotlib.figure", "demo")
    saddle, ravine = at_the_saddle(), in_the_ravine()
    print(f"{'after ' + str(STEPS) + ' steps':22}{'saddle: away from it':>22}{'ravine: loss':>16}")
    for label, path in saddle.paths.items():
        x, y = in_the_last_place(ravine, label)
        print(f"{label:22}{abs(path[-1][1]):22.2g}{x * x / 50 + y * y:16.2g}")
    both = saddle + ravine
    for output in outputs:
        both.save(output)
        print(f"picture: {output}")


def in_the_last_place(run: Trajectories, label: str) -> tuple[float, float]:
    """Return where an optimizer is at the end."""
    x, y = run.paths[label][-1].tolist()
    return x, y


def at_the_saddle() -> Trajectories:
    """Run from beside the ridge of x^2 - y^2, where only what adapts to tiny gradients gets away."""
    return trajectories(
        "saddle",
        {
            "SGD": lambda p: optim.SGD(p, lr=0.01),
            "SGD with momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
            "Adagrad": lambda p: optim.Adagrad(p, lr=0.1),
            "RMSprop": lambda p: optim.RMSprop(p, lr=0.01),
            "Adam": lambda p: optim.Adam(p, lr=0.015),
        },
        STEPS,
    )


def in_the_ravine() -> Trajectories:
    """Run from the far end of x^2 / 50 + y^2, which is 50 times steeper across than along."""
    return trajectories(
        "ravine",
        {
            "SGD": lambda p: optim.SGD(p, lr=0.1),
            "SGD with momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
            "Adagrad": lambda p: optim.Adagrad(p, lr=0.6),
            "RMSprop": lambda p: optim.RMSprop(p, lr=0.06),
            "Adam": lambda p: optim.Adam(p, lr=0.15),
        },
        STEPS,
        view="2d",
    )
