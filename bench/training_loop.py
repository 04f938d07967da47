"""What a step costs within a training loop: matrix products and optimizer steps in turn, timed as a whole.

A step timed by itself finds every core idle. In a loop, NumPy's BLAS keeps threads spinning after each product, which
may get in the way of the step's threads, and these in the way of the next product. So this times whole iterations, with
the step run in different ways and with the step left out:

    python bench/training_loop.py --optimizer adam --parameters 10000 1000000
    python bench/training_loop.py --batch 0           # the step by itself
    python bench/training_loop.py --share-from 0      # small steps shared among threads too
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence

from peers import competitors
from peers.products import Products
from ravine import _core, config
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES
from ravine.benchmark.timing import interleaved, median_ratio, repeated

Iteration = Callable[[], object]

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
TENSORS = 8
THREADINGS = [name for name in config.available_threadings() if name != "off"]
LOOPS = ["no step", "1 thread", *THREADINGS, "NumPy"]


def iterations(optimizer: str, parameters: int, batch: int = 256) -> dict[str, Iteration]:
    """Return one iteration of each loop: the products of a layer's forward and backward pass, then a step.

    Args:
        optimizer: one of `CASES`.
        parameters: how many the step updates, in arrays of equal size.
        batch: samples in a batch; 0 leaves the products out.
    """
    products: Iteration = Products(batch, 784, 256) if batch else lambda: None
    params, grads = workloads.make(f"flat:{TENSORS}x{parameters // TENSORS}", "float32")

    def loop(step: Iteration, threading: str = "off") -> Iteration:
        def iteration() -> None:
            config.set_threading(threading)
            products()
            step()

        return iteration

    step = CASES[optimizer].ravine(params, grads)
    loops = [
        products,
        *(loop(step, name) for name in ("off", *THREADINGS)),
        loop(competitors.numpy(optimizer, params, grads)),
    ]
    return dict(zip(LOOPS, loops, strict=True))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", choices=CASES, default="adam")
    parser.add_argument("--parameters", type=int, nargs="+", default=SIZES)
    parser.add_argument("--batch", type=int, default=256, help="samples in a batch; 0 leaves the products out")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="the least length of a turn")
    parser.add_argument(
        "--share-from", type=int, metavar="BYTES", help="share steps on arrays of so many bytes and more"
    )
    arguments = parser.parse_args(argv)
    before = config.get_threading()
    shared = None if arguments.share_from is None else _core.share_from(arguments.share_from)
    print(f"{arguments.optimizer}: µs an iteration, median; in brackets as a multiple of the one with 1 thread.")
    print(f"Threads: {config.get_num_threads()}.\n")
    print(f"{'parameters':>12}" + "".join(f"{name:>17}" for name in LOOPS))
    for parameters in arguments.parameters:
        contenders = iterations(arguments.optimizer, parameters, arguments.batch)
        timed = {name: repeated(iteration, arguments.seconds) for name, iteration in contenders.items()}
        times = interleaved(timed, arguments.rounds, settle=True)
        cells = [
            f"{statistics.median(seconds) * 1e6:.0f} ({median_ratio(seconds, times['1 thread']):.2f})"
            for seconds in times.values()
        ]
        print(f"{parameters:12,}" + "".join(f"{cell:>17}" for cell in cells), flush=True)
    config.set_threading(before)
    if shared is not None:
        _core.share_from(shared)


if __name__ == "__main__":
    main()
