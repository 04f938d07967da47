"""The command `ravine`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ravine import config
from ravine._extras import MissingExtraError
from ravine.benchmark import command as benchmark
from ravine.checkpoint import command as checkpoint
from ravine.demo import digits, saddle, schedules
from ravine.plot import command as plot


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="ravine", description="torch.optim for NumPy: demonstrations, pictures and measurements"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="see ravine at work")
    demos = demo.add_subparsers(required=True, metavar="DEMO")
    for each in (digits, schedules, saddle):
        each.add_parser(demos)
    benchmark.add_parser(commands)
    plot.add_parser(commands)
    checkpoint.add_parser(commands)
    info = commands.add_parser("info", help="print versions, instruction set and threads")
    info.set_defaults(run=lambda arguments: config.show())  # noqa: ARG005

    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except (MissingExtraError, OSError, ValueError) as error:
        print(f"ravine: {error}", file=sys.stderr)
        return 1
    return 0
