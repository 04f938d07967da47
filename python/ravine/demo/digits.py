"""`ravine demo digits`: a network learns to read handwritten digits."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ravine import _figures
from ravine._extras import require
from ravine.demo import pictures
from ravine.demo.mlp import MLP
from ravine.demo.training import BATCH_SIZE, OPTIMIZERS, Data, Run, default_lr, train

EPOCHS = 20
HELD_OUT = 0.2
SIZES = (64, 256, 128, 10)  # 8 x 8 pixels, two hidden layers, ten digits


def add_parser(subparsers: Any) -> None:
    """Add the command to those of `ravine demo`."""
    parser = subparsers.add_parser(
        "digits",
        help="train a small network, written in NumPy, to read handwritten digits",
        description="Train a multi-layer perceptron, written in NumPy, on scikit-learn's handwritten digits, and "
        "draw loss, accuracy and learning rate.",
    )
    parser.add_argument(
        "--optimizer",
        type=str.lower,
        choices=OPTIMIZERS,
        metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)} (default: adam)",
    )
    parser.add_argument(
        "--lr", type=_learning_rate, help="learning rate (default: one that suits optimizer and batch size)"
    )
    parser.add_argument(
        "--batch-size",
        type=_batch_size,
        metavar="all|N|1",
        help=f"images a step: all (batch descent), N (mini-batch), 1 (stochastic) (default: {BATCH_SIZE})",
    )
    parser.add_argument(
        "--epochs", type=_epochs, default=EPOCHS, help="times through the images (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, help="of the split, the weights and the order (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where the picture goes (default: ravine-digits.png, or ravine-digits-compare.png)",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="train with every optimizer, and by batch, mini-batch and stochastic descent, and draw them side by side",
    )
    parser.set_defaults(run=functools.partial(_run, parser))


def _learning_rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number above 0")
    return value


def _batch_size(text: str) -> int | Literal["all"]:
    return "all" if text == "all" else _whole(text, 1, None, "a whole number, 1 or more, or 'all'")


def _epochs(text: str) -> int:
    return _whole(text, 1, None, "a whole number, 1 or more")


def _seed(text: str) -> int:
    return _whole(text, 0, 2**32 - 1, f"a whole number from 0 to {2**32 - 1}")


def _whole(text: str, least: int, greatest: int | None, expected: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (greatest is not None and value > greatest):
        raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}")
    return value


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    output = arguments.output or Path("ravine-digits-compare.png" if arguments.compare else "ravine-digits.png")
    problem = _figures.why_not_writable(output)
    if problem:
        parser.error(f"argument --output: {str(output)!r}; {problem}")
    for name in ("optimizer", "lr", "batch_size"):
        if arguments.compare and getattr(arguments, name) is not None:
            parser.error(f"argument --{name.replace('_', '-')}: not allowed with --compare, which chooses its own")
    for module in ("sklearn.datasets", "threadpoolctl", "matplotlib.figure", "tqdm"):
        require(module, "demo")  # before the work rather than after it

    data = load(arguments.seed)
    print(
        f"{len(data.X)} images to learn from, {len(data.X_held_out)} held out; a perceptron of "
        f"{' - '.join(map(str, SIZES))} units"
    )
    with _one_blas_thread():
        if arguments.compare:
            _compare(data, arguments.epochs, arguments.seed, output)
        else:
            batch_size = None if arguments.batch_size == "all" else arguments.batch_size or BATCH_SIZE
            run = _new_run(data, arguments.optimizer or "adam", batch_size, arguments.lr)
            _learn(data, run, arguments.epochs, arguments.seed, output)


def load(seed: int) -> Data:
    """Return the digits, pixels from 0 to 1, with a part held out that has as many of each digit in proportion."""
    X, y = require("sklearn.datasets", "demo").load_digits(return_X_y=True)
    X, X_held_out, y, y_held_out = require("sklearn.model_selection", "demo").train_test_split(
        (X / 16).astype(np.float32), y, test_size=HELD_OUT, stratify=y, random_state=seed
    )
    return Data(X, y, X_held_out, y_held_out)


def _learn(data: Data, run: Run, epochs: int, seed: int, output: Path) -> None:
    print(f"{run.optimizer}, lr {run.lr:g}, {run.batches}, {pictures.count(epochs, 'epoch')}, seed {seed}\n")
    with _progress(epochs) as on_epoch:
        network = _train_new(data, run, epochs, seed, on_epoch)
    predicted = network.forward(data.X_held_out).argmax(axis=1)
    images = data.X_held_out.reshape(-1, 8, 8)
    _figures.save(pictures.draw_run(run, images, data.y_held_out, predicted), output)
    right = int((predicted == data.y_held_out).sum())
    print(f"held-out accuracy  {run.held_out_accuracy[-1]:.2%} ({right} of {len(predicted)})")
    print(f"training time      {sum(run.seconds):.2f} s, {run.step_share:.0%} of it in step()")
    print(f"picture            {output}")


def _compare(data: Data, epochs: int, seed: int, output: Path) -> None:
    optimizers = {name: _new_run(data, name, BATCH_SIZE) for name in OPTIMIZERS}
    batches = {
        "batch": _new_run(data, "sgd", None),
        "mini-batch": optimizers["sgd"],
        "stochastic": _new_run(data, "sgd", 1),
    }
    runs = [*optimizers.values(), batches["batch"], batches["stochastic"]]
    print(f"{pictures.count(epochs, 'epoch')} each, seed {seed}")
    with _progress(epochs * len(runs)) as on_epoch:
        for run in runs:
            _train_new(data, run, epochs, seed, on_epoch)
    _print_table(f"optimizer (batches of {BATCH_SIZE})", optimizers)
    _print_table("descent (sgd)", batches)
    _figures.save(pictures.draw_comparison(optimizers, batches, len(data.X)), output)
    print(f"\npicture: {output}")


def _new_run(data: Data, optimizer: str, batch_size: int | None, lr: float | None = None) -> Run:
    samples = len(data.X)
    if batch_size is not None and batch_size >= samples:
        batch_size = None
    return Run(optimizer, lr or default_lr(optimizer, batch_size, samples), batch_size)


def _train_new(data: Data, run: Run, epochs: int, seed: int, on_epoch: Callable[[Run], None]) -> MLP:
    """Return a new network, trained; those of one seed start from the same weights and see the same order of images."""
    rng = np.random.default_rng(seed)
    network = MLP(SIZES, rng)
    train(network, data, run, epochs=epochs, rng=rng, on_epoch=on_epoch)
    return network


def _one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context for products of small matrices, which several threads make slower.

    It leaves the optimizer's threads alone, and keeps the result independent of the number of processors.
    """
    limits: AbstractContextManager[Any] = require("threadpoolctl", "demo").threadpool_limits(1, user_api="blas")
    return limits


@contextmanager
def _progress(epochs: int) -> Iterator[Callable[[Run], None]]:
    """Show a progress bar on a terminal; yield what to call after each epoch."""
    form = "{desc} |{bar}| {n_fmt}/{total_fmt} epochs{postfix}"
    with require("tqdm", "demo").tqdm(total=epochs, bar_format=form, disable=None) as bar:

        def on_epoch(run: Run) -> None:
            bar.set_description_str(run.optimizer, refresh=False)
            bar.set_postfix_str(
                f"loss {run.train_loss[-1]:.4f}, accuracy {run.held_out_accuracy[-1]:.1%}, lr {run.lrs[-1]:.2g}",
                refresh=False,
            )
            bar.update()

        yield on_epoch


def _print_table(heading: str, runs: Mapping[str, Run]) -> None:
    print(f"\n{heading:26}      lr  held-out accuracy  time per epoch  in step()")
    for name, run in runs.items():
        print(
            f"{name:26}{run.lr:8g}{run.held_out_accuracy[-1]:19.2%}{run.epoch_seconds * 1e3:13.1f} ms"
            f"{run.step_share:11.0%}"
        )
