"""Training a classifier, and the record of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ravine import optim
from ravine.data import minibatches
from ravine.demo.mlp import MLP, softmax_cross_entropy
from ravine.optim.schedule_free import ScheduleFree

Array = np.ndarray[Any, Any]

# The learning rate is multiplied by this after each epoch, except where an optimizer needs no schedule.
DECAY = 0.9

# The batch size that the learning rates below suit.
BATCH_SIZE = 32


class Choice(NamedTuple):
    """An optimizer as the demonstrations use it."""

    optimizer: Callable[..., optim.Optimizer]
    lr: float
    options: dict[str, Any]
    decay: float = DECAY


# By what they build on.
FAMILIES = {
    "Gradients and their signs": {
        "sgd": Choice(optim.SGD, 0.2, {}),
        "momentum": Choice(optim.SGD, 0.05, {"momentum": 0.9}),
        "nesterov": Choice(optim.SGD, 0.05, {"momentum": 0.9, "nesterov": True}),
        "asgd": Choice(optim.ASGD, 0.2, {}),
        "sgd-schedule-free": Choice(optim.SGDScheduleFree, 1.0, {}, decay=1.0),
        "lion": Choice(optim.Lion, 0.0006, {}),
        # Made for whole-set gradients, whose signs are no noise; with batches only small steps help.
        "rprop": Choice(optim.Rprop, 0.001, {"step_sizes": (1e-6, 0.002)}),
    },
    "From Adagrad to Adam": {
        "adagrad": Choice(optim.Adagrad, 0.02, {}),
        "adadelta": Choice(optim.Adadelta, 1.0, {}),
        "rmsprop": Choice(optim.RMSprop, 0.002, {}),
        "adam": Choice(optim.Adam, 0.004, {}),
        "amsgrad": Choice(optim.Adam, 0.004, {"amsgrad": True}),
        "adamw": Choice(optim.AdamW, 0.004, {}),
        "adamax": Choice(optim.Adamax, 0.008, {}),
    },
    "After Adam": {
        "nadam": Choice(optim.NAdam, 0.004, {}),
        "radam": Choice(optim.RAdam, 0.008, {}),
        "adabelief": Choice(optim.AdaBelief, 0.004, {}),
        "yogi": Choice(optim.Yogi, 0.01, {}),
        "adan": Choice(optim.Adan, 0.008, {}),
        "ademamix": Choice(optim.AdEMAMix, 0.002, {}),
        "adopt": Choice(optim.ADOPT, 0.004, {}),
        "adamw-schedule-free": Choice(optim.AdamWScheduleFree, 0.005, {}, decay=1.0),
    },
}
OPTIMIZERS = {name: choice for family in FAMILIES.values() for name, choice in family.items()}


class Data(NamedTuple):
    """Samples to learn from and samples held out: X has one row a sample, y its label."""

    X: Array
    y: Array
    X_held_out: Array
    y_held_out: Array


@dataclass
class Run:
    """What a training was set to and how it went.

    The losses and accuracies (of 1) start before the first epoch and so are one more than the epochs.
    """

    optimizer: str
    lr: float
    batch_size: int | None
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)
    held_out_accuracy: list[float] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)  # in each epoch
    seconds: list[float] = field(default_factory=list)  # of each epoch, without the evaluation after it
    step_seconds: list[float] = field(default_factory=list)  # of these, in the optimizer's step()

    @property
    def batches(self) -> str:
        """The batch size in words."""
        if self.batch_size is None:
            return "whole set at once"
        return "single images" if self.batch_size == 1 else f"batches of {self.batch_size}"

    @property
    def epochs(self) -> int:
        """The epochs so far."""
        return len(self.seconds)

    @property
    def epoch_seconds(self) -> float:
        """The time of a typical epoch."""
        return statistics.median(self.seconds)

    @property
    def step_share(self) -> float:
        """The share of the time, of 1, that was spent in step()."""
        return sum(self.step_seconds) / sum(self.seconds)


def default_lr(optimizer: str, batch_size: int | None, samples: int) -> float:
    """Return a learning rate that suits an optimizer and a batch size, None being all samples.

    It grows with the square root of the batch size, as the noise of the gradient falls with it; beyond a few hundred
    samples it is the curvature of the loss that limits it.
    """
    batch = min(samples if batch_size is None else batch_size, 16 * BATCH_SIZE)
    lr = OPTIMIZERS[optimizer].lr * (batch / BATCH_SIZE) ** 0.5
    return float(f"{lr:.2g}")


def train(
    network: MLP, data: Data, run: Run, *, epochs: int, rng: np.random.Generator, on_epoch: Callable[[Run], None]
) -> None:
    """Train a network and write down in `run` how it goes.

    Args:
        network: what to train, in place.
        data: what to train on, and to evaluate on after each epoch.
        run: a record without epochs, which says what to train with.
        epochs: how often to go through the data.
        rng: draws the order of the samples.
        on_epoch: called with the record after each epoch.

    Raises:
        ValueError: the loss is not finite any more; the learning rate is too large.
    """
    choice = OPTIMIZERS[run.optimizer]
    optimizer = choice.optimizer(network.parameters(), lr=run.lr, **choice.options)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lr_lambda=lambda epoch: choice.decay**epoch)
    _evaluate(network, data, run)
    for _ in range(epochs):
        run.lrs.append(schedule.get_last_lr()[0])
        with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
            if isinstance(optimizer, ScheduleFree):
                optimizer.train()
            seconds, step_seconds = _train_epoch(network, data, run.batch_size, optimizer, rng)
            if isinstance(optimizer, ScheduleFree):
                optimizer.eval()
            _evaluate(network, data, run)
        run.seconds.append(seconds)
        run.step_seconds.append(step_seconds)
        if not np.isfinite(run.train_loss[-1]):
            raise ValueError(
                f"the loss is {run.train_loss[-1]} after epoch {run.epochs}: lr={run.lr:g} is too large for "
                f"{run.optimizer} here; {default_lr(run.optimizer, run.batch_size, len(data.X)):g} suits it."
            )
        schedule.step()
        on_epoch(run)


def _train_epoch(
    network: MLP, data: Data, batch_size: int | None, optimizer: optim.Optimizer, rng: np.random.Generator
) -> tuple[float, float]:
    """Go through the data once; return the seconds it took, and those of them in step()."""
    step_seconds = 0.0
    start = time.perf_counter()
    for X, y in minibatches(data.X, data.y, batch_size=batch_size, rng=rng):
        _, gradient = softmax_cross_entropy(network.forward(X), y)
        network.backward(gradient)
        before = time.perf_counter()
        optimizer.step()
        step_seconds += time.perf_counter() - before
    return time.perf_counter() - start, step_seconds


def _evaluate(network: MLP, data: Data, run: Run) -> None:
    logits = network.forward(data.X)
    run.train_loss.append(softmax_cross_entropy(logits, data.y)[0])
    run.train_accuracy.append(accuracy(logits, data.y))
    logits = network.forward(data.X_held_out)
    run.held_out_loss.append(softmax_cross_entropy(logits, data.y_held_out)[0])
    run.held_out_accuracy.append(accuracy(logits, data.y_held_out))


def accuracy(logits: Array, labels: Array) -> float:
    """Return the share of the samples, of 1, whose label has the greatest logit."""
    return float((logits.argmax(axis=1) == labels).mean())
