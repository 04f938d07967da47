"""Batch norm and dropout beside NumPy, a copy of the data and, if wanted, torch: each pass in turns, as a table.

    python bench/layers.py --torch
    python bench/layers.py --shapes 32x256x56x56 256x1024 --layer batch_norm
    python bench/layers.py --all-shapes

Everybody's results are compared with NumPy's first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peers.layers import SHAPES, WrongResultError, case, make, measure
from ravine._extras import MissingExtraError, require
from ravine.benchmark.layers import add_choices, results_of
from ravine.benchmark.session import readable, session, write
from ravine.benchmark.timing import median_ratio

if TYPE_CHECKING:
    from ravine.benchmark.layers import Batch
    from ravine.benchmark.session import Effort
    from ravine.benchmark.workloads import Shape

_LEGEND = """
On a machine that is busy with other things the figures mean little. All results were compared with NumPy's first.
out=       time of ravine writing to an array that is there, median
new        time of ravine returning a new array, median; a large one costs what it takes to get its pages
vs copy    how many times faster than a copy of the data, or for the backward pass of batch norm than an addition of two
           arrays, on as many threads: a read, or two, and a write. Batch norm reads its data twice, but for evaluation
           and where they stay in the cache meanwhile
vs NumPy   how many times faster than NumPy; beside out= with out= too, in pieces that stay in the cache; beside new in
           the usual expressions"""
_TORCH_LEGEND = "\nvs torch   how many times faster than torch, which returns a new array, in the same layout"


@dataclass(frozen=True)
class Result:
    """What was measured of one pass over one batch; ratios are medians of ratios taken round by round.

    Those that begin with "new" are of a new result, the others of `out=`.
    """

    layer: str
    shape: Shape
    layout: str
    operation: str
    seconds: float
    vs_copy: float
    vs_numpy: float
    vs_torch: float | None
    new_seconds: float
    new_vs_numpy: float
    new_vs_torch: float | None

    def row(self) -> str:
        """Return it as a line of the table."""
        line = f"{self.operation:18}{readable(self.seconds):>10}{self.vs_copy:9.2f}x{self.vs_numpy:9.1f}x"
        line += _torch_cell(self.vs_torch)
        return line + f"{readable(self.new_seconds):>13}{self.new_vs_numpy:9.1f}x" + _torch_cell(self.new_vs_torch)


def _torch_cell(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:9.1f}x"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choices(parser)
    parser.add_argument("--all-shapes", action="store_true", help="by default, those of common models")
    parser.add_argument("--torch", action="store_true", help="compare with torch as well")
    parser.set_defaults(dtype="float32")
    arguments = parser.parse_args(argv)
    of_torch = f"{'vs torch':>10}" * arguments.torch
    head = f"{'':18}{'out=':>10}{'vs copy':>10}{'vs NumPy':>10}{of_torch}{'new':>13}{'vs NumPy':>10}{of_torch}"

    def result_of(batch: Batch, layer: str, operation: str, effort: Effort) -> Result:
        times = measure(case(layer, operation, batch), effort, arguments.torch)
        torch = times.get("torch")
        return Result(
            layer,
            batch.shape,
            batch.layout,
            operation,
            seconds=statistics.median(times["ravine"]),
            vs_copy=median_ratio(times["copy"], times["ravine"]),
            vs_numpy=median_ratio(times["numpy"], times["ravine"]),
            vs_torch=median_ratio(torch, times["ravine"]) if torch else None,
            new_seconds=statistics.median(times["ravine_new"]),
            new_vs_numpy=median_ratio(times["numpy_new"], times["ravine_new"]),
            new_vs_torch=median_ratio(torch, times["ravine_new"]) if torch else None,
        )

    try:
        versions = {"torch": require("torch", "oracles").__version__} if arguments.torch else {}
        with session(arguments, **versions) as machine:
            results = list(results_of(arguments, head, result_of, make, SHAPES if arguments.all_shapes else None))
            print(_LEGEND + _TORCH_LEGEND * arguments.torch)
        write(arguments, machine, results)
    except (MissingExtraError, ValueError, WrongResultError) as error:
        print(f"layers.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
