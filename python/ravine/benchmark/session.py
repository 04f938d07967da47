"""What all measurements share: options, the machine they run on, and how figures are written."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ravine import config


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: turns of each contender.
        seconds: how long a turn takes at the least.
    """

    rounds: int
    seconds: float


class Row(Protocol):
    """A result, a dataclass which is a line of a table."""

    def row(self) -> str:
        """Return the line."""


RowT = TypeVar("RowT", bound=Row)

FULL = Effort(rounds=9, seconds=0.01)
QUICK = Effort(rounds=3, seconds=0.001)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all measurements share. Where the parser has no other default, `dtype` has to be set."""
    parser.add_argument("--dtype", choices=("float32", "float64"), help="default: float32")
    parser.add_argument("--threads", type=_threads, metavar="N", help="how many to use")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, for a rough figure")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the results to a file as well")


@contextlib.contextmanager
def session(arguments: argparse.Namespace, **others: str) -> Iterator[dict[str, Any]]:
    """Yield what the machine is, after printing it, while the threads are those that were asked for.

    Args:
        arguments: of the command line.
        others: the versions of what ravine is compared with, by name.
    """
    machine = {**config.info(), **others}
    before = config.get_num_threads()
    if arguments.threads:
        config.set_num_threads(arguments.threads)
        machine["threads"] = config.info()["threads"]
    versions = [f"{name} {machine[name]}" for name in ("ravine", "python", "numpy", *others)]
    try:
        print(f"{', '.join(versions)}; {machine['platform']}")
        print(f"{arguments.dtype}, instruction set {machine['instruction set']}, threads {machine['threads']}")
        yield machine
    finally:
        if arguments.threads:
            config.set_num_threads(before)


def write(arguments: argparse.Namespace, machine: Mapping[str, Any], results: Sequence[Any]) -> None:
    """Write results, which are dataclasses, to the file that was asked for, if any.

    Raises:
        ValueError: it cannot be written.
    """
    if not arguments.json:
        return
    content = {"machine": machine, "dtype": arguments.dtype, "results": [asdict(result) for result in results]}
    try:
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ValueError(f"bench: cannot write {arguments.json}: {error.strerror}.") from error


def readable(seconds: float) -> str:
    """Return a time with three figures, in the unit that suits it."""
    unit, factor = ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    value = seconds * factor
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def new_file(text: str) -> Path:
    """Return the path of a file that can be written, as the type of an option."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():  # found out before measuring, not after
        raise argparse.ArgumentTypeError(f"{text!r} is a folder, or in one that does not exist")
    return path
