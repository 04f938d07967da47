"""`ravine demo digits`: a network learns to read handwritten digits."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ravine import _figures, optim
from ravine._extras import require
from ravine.demo import pictures
from ravine.demo.networks import MODELS, SIDE, Design
from ravine.demo.pictures import Column
from ravine.demo.training import BATCH_SIZE, FAMILIES, OPTIMIZERS, Data, DivergedError, Run, default_lr, refusal, train
from ravine.optim.swa_utils import ExponentialMovingAverage

EPOCHS = 20
HELD_OUT = 0.2
DROPOUT = 0.2
LARGER_LR = 10  # times the learning rate that suits a plain network

LR = Column("lr", lambda run: f"{run.lr:g}")
STEPS = Column("steps per\nepoch", lambda run: f"{run.steps}")
LOSS = Column("training\nloss", lambda run: "diverged" if run.diverged else f"{run.train_loss[-1]:.4f}")
ACCURACY = Column("held-out\naccuracy", lambda run: f"{run.held_out_accuracy[-1]:.1%}")
TIME = Column("time per\nepoch", lambda run: _milliseconds(run.epoch_seconds))
STEP_SHARE = Column("in\nstep()", lambda run: f"{run.step_share:.0%}")
LAYER_SHARE = Column("in norm,\ndropout", lambda run: f"{run.layer_share:.0%}")


def add_parser(subparsers: Any) -> None:
    """Add the command to those of `ravine demo`."""
    parser = subparsers.add_parser(
        "digits",
        help="train a small network, written in NumPy, to read handwritten digits",
        description="Train a small network, written in NumPy, on scikit-learn's handwritten digits, and draw loss, "
        "accuracy and learning rate. Batch norm, dropout and the optimizer are ravine's.",
    )
    parser.add_argument(
        "--model",
        choices=MODELS,
        default="mlp",
        help="mlp: a perceptron of 64 - 256 - 128 - 10 units; cnn: two convolutions of 16 and 32 channels, a pooling, "
        "and fully connected layers of 128 - 10 units (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-norm",
        action=argparse.BooleanOptionalAction,
        help="normalise before each ReLU (default: yes, but not with --batch-size 1, where there is no variance)",
    )
    parser.add_argument(
        "--dropout",
        type=_below_1,
        metavar="P",
        help=f"the probability of a hidden feature to be dropped in training, 0 for no dropout (default: {DROPOUT:g})",
    )
    parser.add_argument(
        "--optimizer",
        type=str.lower,
        choices=OPTIMIZERS,
        metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)} (default: adam)",
    )
    parser.add_argument("--lr", type=_above_0, help="learning rate (default: one that suits optimizer and batch size)")
    parser.add_argument(
        "--batch-size",
        type=_batch_size,
        metavar="all|N|1",
        help=f"images a step: all (batch descent), N (mini-batch), 1 (stochastic) (default: {BATCH_SIZE}, but all for "
        "lbfgs)",
    )
    parser.add_argument(
        "--clip-norm",
        type=_above_0,
        metavar="NORM",
        help="scale the gradients of a step down where their norm, all together, is greater (default: never)",
    )
    parser.add_argument(
        "--ema",
        type=_below_1,
        metavar="DECAY",
        help="average the weights, so much of the average staying at each step (less of it at the beginning), and "
        "evaluate the average too (default: no average)",
    )
    parser.add_argument(
        "--epochs", type=_epochs, default=EPOCHS, help="times through the images (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        help="of split, weights, order and dropout (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where the picture goes (default: ravine-digits.png, ravine-digits-compare.png or "
        "ravine-digits-compare-norm.png)",
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="save the training to this file after each epoch"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the training in that file, as if it had never stopped; begin where there is none",
    )
    comparison = parser.add_mutually_exclusive_group()
    comparison.add_argument(
        "--compare",
        action="store_true",
        help="train a plain network with every optimizer, and by batch, mini-batch and stochastic descent, and draw "
        "them side by side",
    )
    comparison.add_argument(
        "--compare-norm",
        action="store_true",
        help="train with and without batch norm, with and without dropout, at two learning rates, and draw them side "
        "by side",
    )
    parser.set_defaults(run=functools.partial(_run, parser))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"


def _above_0(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number above 0")
    return value


def _below_1(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number from 0 to below 1")
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
    comparison = "compare" if arguments.compare else "compare-norm" if arguments.compare_norm else None
    output = arguments.output or Path(f"ravine-digits-{comparison}.png" if comparison else "ravine-digits.png")
    problem = _figures.why_not_writable(output)
    if problem:
        parser.error(f"argument --output: {str(output)!r}; {problem}")
    if arguments.resume and not arguments.checkpoint:
        parser.error("argument --resume: give the file with --checkpoint")
    if arguments.checkpoint:
        problem = _figures.why_not_writable(arguments.checkpoint, (arguments.checkpoint.suffix.lower(),))
        if problem:
            parser.error(f"argument --checkpoint: {str(arguments.checkpoint)!r}; {problem}")
        if comparison:
            parser.error(f"argument --checkpoint: not allowed with --{comparison}, which has many trainings")
    for name in ("optimizer", "lr", "batch_size", "batch_norm", "dropout", "clip_norm", "ema"):
        if comparison and getattr(arguments, name) is not None:
            parser.error(
                f"argument --{name.replace('_', '-')}: not allowed with --{comparison}, which chooses its own settings"
            )
    if arguments.batch_norm and arguments.batch_size == 1:
        parser.error("argument --batch-norm: not allowed with --batch-size 1: a batch needs 2 images for a variance")
    optimizer = arguments.optimizer or "adam"
    _check_optimizer(parser, arguments, optimizer)
    for module in ("sklearn.datasets", "threadpoolctl", "matplotlib.figure", "tqdm"):
        require(module, "demo")  # before the work rather than after it

    data = load(arguments.seed)
    print(f"{len(data.X)} images to learn from, {len(data.X_held_out)} held out")
    with _one_blas_thread():
        if arguments.compare:
            _compare(data, arguments.model, arguments.epochs, arguments.seed, output)
        elif arguments.compare_norm:
            _compare_norm(data, arguments.model, arguments.epochs, arguments.seed, output)
        else:
            batch_size = OPTIMIZERS[optimizer].batch_size if arguments.batch_size is None else arguments.batch_size
            design = Design(
                arguments.model,
                batch_size != 1 if arguments.batch_norm is None else arguments.batch_norm,
                DROPOUT if arguments.dropout is None else arguments.dropout,
            )
            run = _new_run(data, optimizer, None if batch_size == "all" else batch_size, design, arguments.lr)
            run.clip_norm, run.ema = arguments.clip_norm, arguments.ema
            _learn(data, run, arguments, output)


def _check_optimizer(parser: argparse.ArgumentParser, arguments: argparse.Namespace, optimizer: str) -> None:
    """End with an error where an optimizer refuses what is asked of it."""
    asked: tuple[tuple[str, float | None, Callable[[optim.Optimizer], object]], ...] = (
        ("clip-norm", arguments.clip_norm, lambda each: each.step(lambda: 0.0, max_norm=arguments.clip_norm)),
        ("ema", arguments.ema, lambda each: ExponentialMovingAverage(each, arguments.ema)),
    )
    for option, value, ask in asked:
        problem = refusal(optimizer, ask) if value is not None else None
        if problem:
            parser.error(f"argument --{option}: not allowed with --optimizer {optimizer}. {problem}")


def load(seed: int) -> Data:
    """Return the digits, pixels from 0 to 1, with a part held out that has as many of each digit in proportion."""
    X, y = require("sklearn.datasets", "demo").load_digits(return_X_y=True)
    X, X_held_out, y, y_held_out = require("sklearn.model_selection", "demo").train_test_split(
        (X / 16).astype(np.float32), y, test_size=HELD_OUT, stratify=y, random_state=seed
    )
    return Data(X, y, X_held_out, y_held_out)


def _learn(data: Data, run: Run, arguments: argparse.Namespace, output: Path) -> None:
    epochs, seed, checkpoint = arguments.epochs, arguments.seed, arguments.checkpoint
    print(
        f"{run.design}, {run.optimizer}, lr {run.lr:g}, {run.batches}, {pictures.count(epochs, 'epoch')}, seed {seed}\n"
    )
    with _progress(epochs) as on_epoch:
        network = train(
            data, run, epochs=epochs, seed=seed, on_epoch=on_epoch, checkpoint=checkpoint, resume=arguments.resume
        )
    predicted = network(data.X_held_out).argmax(axis=1)
    images = data.X_held_out.reshape(-1, SIDE, SIDE)
    _figures.save(pictures.draw_run(run, images, data.y_held_out, predicted), output)
    right = int((predicted == data.y_held_out).sum())
    shares = f"{run.step_share:.0%} of it in step()"
    if run.design.additions:
        additions = run.design.additions.replace("batch norm", "batch norm (with its ReLU)")
        shares += f", {run.layer_share:.0%} in {additions}"
    print(f"held-out accuracy  {run.held_out_accuracy[-1]:.2%} ({right} of {len(predicted)})")
    if run.ema_accuracy:
        right = round(run.ema_accuracy[-1] * len(predicted))
        print(f"averaged weights   {run.ema_accuracy[-1]:.2%} ({right} of {len(predicted)})")
    if run.norms:
        print(f"gradients clipped  in {sum(run.clipped)} of {len(run.norms)} steps, to a norm of {run.clip_norm:g}")
    print(f"training time      {sum(run.seconds):.2f} s, {shares}")
    if checkpoint:
        resumed = f", gone on with after {pictures.count(run.resumed_after, 'epoch')}" if run.resumed_after else ""
        print(f"checkpoint         {checkpoint}{resumed}")
    print(f"picture            {output}")


def _compare(data: Data, model: str, epochs: int, seed: int, output: Path) -> None:
    design = Design(model, batch_norm=False, dropout=0)
    optimizers = {name: _new_run(data, name, choice.batch_size, design) for name, choice in OPTIMIZERS.items()}
    batches = {
        "batch": _new_run(data, "sgd", None, design),
        "mini-batch": optimizers["sgd"],
        "stochastic": _new_run(data, "sgd", 1, design),
    }
    print(f"{design}, {pictures.count(epochs, 'epoch')} each, seed {seed}")
    _train_all(data, [*optimizers.values(), batches["batch"], batches["stochastic"]], epochs, seed)
    families = {}
    for family, names in FAMILIES.items():
        runs = {name: optimizers[name] for name in names}
        batches_of_all = " or ".join(dict.fromkeys(run.batches for run in runs.values()))
        families[f"{family} ({design}, {batches_of_all})"] = runs
    groups = {**families, f"Batch, mini-batch and stochastic descent ({design}, sgd)": batches}
    _show_comparison(groups, (LR, STEPS, ACCURACY, TIME, STEP_SHARE), output, tuple(families))


def _compare_norm(data: Data, model: str, epochs: int, seed: int, output: Path) -> None:
    designs = {
        "plain": Design(model, batch_norm=False, dropout=0),
        "dropout": Design(model, batch_norm=False, dropout=DROPOUT),
        "batch norm": Design(model, batch_norm=True, dropout=0),
        "batch norm, dropout": Design(model, batch_norm=True, dropout=DROPOUT),
    }
    suitable = default_lr("sgd", BATCH_SIZE, len(data.X))
    groups = {
        f"{title}: {model}, sgd, lr {lr:g}": {
            name: _new_run(data, "sgd", BATCH_SIZE, design, lr) for name, design in designs.items()
        }
        for title, lr in (
            ("A learning rate that suits the plain network", suitable),
            (f"{LARGER_LR} times that", LARGER_LR * suitable),
        )
    }
    print(f"{model}, batches of {BATCH_SIZE}, dropout {DROPOUT:g}, {pictures.count(epochs, 'epoch')} each, seed {seed}")
    _train_all(data, [run for runs in groups.values() for run in runs.values()], epochs, seed)
    _show_comparison(groups, (LOSS, ACCURACY, TIME, STEP_SHARE, LAYER_SHARE), output)
    print("in norm, dropout: in batch norm (with its ReLU) and dropout, forward and backward")


def _train_all(data: Data, runs: Sequence[Run], epochs: int, seed: int) -> None:
    with _progress(epochs * len(runs)) as on_epoch:
        for run in runs:
            with suppress(DivergedError):  # the comparison shows it
                train(data, run, epochs=epochs, seed=seed, on_epoch=on_epoch)


def _show_comparison(
    groups: Mapping[str, Mapping[str, Run]], columns: Sequence[Column], output: Path, one_scale: Sequence[str] = ()
) -> None:
    """Print a table of each group of trainings, and draw the groups one below the other."""
    for heading, runs in groups.items():
        print(f"\n{heading}")
        rows = [[column.heading.replace("\n", " ") for column in columns]]
        rows += [[column.cell(run) for column in columns] for run in runs.values()]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        for name, cells in zip(("", *runs), rows, strict=True):
            aligned = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            print(f"{name:22}{'  '.join(aligned)}")
    _figures.save(pictures.draw_comparison(groups, columns, one_scale), output)
    print(f"\npicture: {output}")


def _new_run(data: Data, optimizer: str, batch_size: int | None, design: Design, lr: float | None = None) -> Run:
    samples = len(data.X)
    if batch_size is not None and batch_size >= samples:
        batch_size = None
    return Run(optimizer, lr or default_lr(optimizer, batch_size, samples), batch_size, design)


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
        bar.total = bar.n  # trainings that diverged have ended early
        bar.refresh()
