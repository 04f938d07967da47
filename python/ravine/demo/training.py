"""Training a classifier, and the record of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ravine import nn, optim
from ravine._optimizers import default_of, optimizers, takes_matrices_only
from ravine.data import minibatches
from ravine.demo.checkpoints import Training
from ravine.demo.layers import softmax_cross_entropy
from ravine.demo.networks import Design, Network
from ravine.optim.schedule_free import ScheduleFree
from ravine.optim.swa_utils import ExponentialMovingAverage, update_bn

Array = np.ndarray[Any, Any]

# The learning rate is multiplied by this after each epoch, except where an optimizer needs no schedule.
DECAY = 0.9

# The batch size that the learning rates below suit.
BATCH_SIZE = 32

# The layers whose share of the time is told.
TIMED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout)


class Choice(NamedTuple):
    """An optimizer as the demonstrations use it."""

    optimizer: Callable[..., optim.Optimizer]
    lr: float
    options: dict[str, Any]
    decay: float = DECAY
    batch_size: int | None = BATCH_SIZE  # where nobody asks for another; None is the whole set
    others: str | None = None  # the choice for parameters that are no matrices, where this one takes matrices only

    def make(self, params: list[tuple[str, nn.Parameter]], lr: float) -> list[optim.Optimizer]:
        """Return the optimizers of a network's parameters."""
        if self.others is None:
            return [self.optimizer(params, lr=lr, **self.options)]
        matrices = [pair for pair in params if pair[1].ndim == 2]
        others = OPTIMIZERS[self.others]
        rest = others.make([pair for pair in params if pair[1].ndim != 2], lr / self.lr * others.lr)
        return [self.optimizer(matrices, lr=lr, **self.options), *rest]


def adam_then_sgd(params: Iterable[Any], lr: float, at: int, sgd_lr: float, momentum: float) -> optim.Handoff:
    """Return Adam, and from step `at` on SGD, whose learning rate is `sgd_lr` times Adam's."""
    shared = list(params)
    stages = [optim.Adam(shared, lr=lr), optim.SGD(shared, lr=sgd_lr * lr, momentum=momentum)]
    return optim.Handoff(stages, at=[at])


# With settings that were looked for, by what they build on.
TUNED = {
    "Gradients and their signs": {
        "sgd": Choice(optim.SGD, 0.2, {}),
        "momentum": Choice(optim.SGD, 0.05, {"momentum": 0.9}),
        "nesterov": Choice(optim.SGD, 0.05, {"momentum": 0.9, "nesterov": True}),
        "asgd": Choice(optim.ASGD, 0.2, {}),
        "sgd-schedule-free": Choice(optim.SGDScheduleFree, 1.0, {}, decay=1.0),
        "lars": Choice(optim.LARS, 1.0, {"trust_coefficient": 0.003}),
        "lion": Choice(optim.Lion, 0.0006, {}),
        # Made for whole-set gradients, whose signs are no noise; with batches only small steps help.
        "rprop": Choice(optim.Rprop, 0.001, {"step_sizes": (1e-6, 0.002)}),
        "muon": Choice(optim.Muon, 0.02, {}, others="adamw"),
    },
    "From Adagrad to Adam": {
        "adagrad": Choice(optim.Adagrad, 0.02, {}),
        "adadelta": Choice(optim.Adadelta, 1.0, {}),
        "rmsprop": Choice(optim.RMSprop, 0.002, {}),
        "adam": Choice(optim.Adam, 0.004, {}),
        "adam-then-sgd": Choice(adam_then_sgd, 0.004, {"at": 88, "sgd_lr": 12.5, "momentum": 0.9}),
        "amsgrad": Choice(optim.Adam, 0.004, {"amsgrad": True}),
        "adamw": Choice(optim.AdamW, 0.004, {}),
        "sparse-adam": Choice(optim.SparseAdam, 0.004, {}),
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
        "lamb": Choice(optim.LAMB, 0.02, {}),
        "adafactor": Choice(optim.Adafactor, 0.05, {}),
        "prodigy": Choice(optim.Prodigy, 1.0, {}),
        "swats": Choice(optim.SWATS, 0.004, {"tolerance": 0.01}),
        "adamw-schedule-free": Choice(optim.AdamWScheduleFree, 0.005, {}, decay=1.0),
    },
    "Of second order": {
        # Differences of gradients have to be those of one function, so an epoch is one step, of up to 20 evaluations.
        "lbfgs": Choice(
            optim.LBFGS, 1.0, {"line_search_fn": "strong_wolfe", "max_eval": 20}, decay=1.0, batch_size=None
        ),
    },
}


def others(families: Mapping[str, Mapping[str, Choice]]) -> dict[str, dict[str, Choice]]:
    """Return a family of the optimizers that are in none of these, each with its own default learning rate, if any."""
    known = {choice.optimizer for family in families.values() for choice in family.values()}
    found = {
        name: Choice(each, default_of(each, "lr"), {}, others="adamw" if takes_matrices_only(each) else None)
        for name, each in optimizers().items()
        if each not in known
    }
    return {"Others, not tuned": found} if found else {}


FAMILIES = {**TUNED, **others(TUNED)}
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
    design: Design
    clip_norm: float | None = None  # the greatest norm of all gradients of a step together
    ema: float | None = None  # the decay of a moving average of the weights
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)
    held_out_accuracy: list[float] = field(default_factory=list)
    ema_loss: list[float] = field(default_factory=list)  # held out, of the averaged weights, where there is an average
    ema_accuracy: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)  # of the gradients in each step, where they are clipped
    clip_coefficients: list[float] = field(default_factory=list)  # what they were multiplied by
    lrs: list[float] = field(default_factory=list)  # in each epoch
    seconds: list[float] = field(default_factory=list)  # of each epoch, without the evaluation after it
    step_seconds: list[float] = field(default_factory=list)  # of these, in the optimizer's step()
    layer_seconds: list[float] = field(default_factory=list)  # of these, in batch norm (with its ReLU) and dropout
    steps: int = 0  # in an epoch
    resumed_after: int = 0  # epochs, which an earlier training had

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

    @property
    def layer_share(self) -> float:
        """The share of the time, of 1, that was spent in batch norm and dropout, forward and backward.

        That of batch norm has the ReLU in it, which belongs to the same pass.
        """
        return sum(self.layer_seconds) / sum(self.seconds)

    @property
    def clipped(self) -> list[bool]:
        """Whether each step had its gradients clipped."""
        return [coefficient < 1 for coefficient in self.clip_coefficients]

    @property
    def diverged(self) -> bool:
        """Whether the loss ceased to be finite."""
        return not np.isfinite(self.train_loss[-1])


class DivergedError(ValueError):
    """The loss is not finite any more; the learning rate is too large."""


def default_lr(optimizer: str, batch_size: int | None, samples: int) -> float:
    """Return a learning rate that suits an optimizer and a batch size, None being all samples.

    From that of the optimizer's own batch size it grows with the square root of the batch size, as the noise of the
    gradient falls with it; beyond a few hundred samples it is the curvature of the loss that limits it.
    """
    choice = OPTIMIZERS[optimizer]
    batch, own = (min(size or samples, 16 * BATCH_SIZE) for size in (batch_size, choice.batch_size))
    lr = choice.lr * (batch / own) ** 0.5
    return float(f"{lr:.2g}")


def refusal(optimizer: str, ask: Callable[[optim.Optimizer], object]) -> str | None:
    """Return what an optimizer of a name says against something that is asked of it, or None."""
    params = [("weight", nn.Parameter(np.zeros((1, 1)))), ("bias", nn.Parameter(np.zeros(1)))]
    try:
        for each in OPTIMIZERS[optimizer].make(params, 1.0):
            ask(each)
    except ValueError as error:
        return str(error)
    return None


def train(
    data: Data,
    run: Run,
    *,
    epochs: int,
    seed: int,
    on_epoch: Callable[[Run], None],
    checkpoint: Path | None = None,
    resume: bool = False,
) -> Network:
    """Build and train a network, and write down in `run` how it goes.

    Args:
        data: samples as the network takes them.
        run: a record without epochs.
        epochs: how many times to go through the data.
        seed: of the weights, of what is dropped, and of the order of the samples: with one seed, trainings of the same
            network start alike.
        on_epoch: called with the record after each epoch, and for each that was resumed.
        checkpoint: where to save the training after each epoch.
        resume: go on with what is there, if there is something; to the same bits as a training without a break.

    Returns:
        The network, in evaluation.

    Raises:
        DivergedError: the learning rate is too large. `run` has the epochs until then.
        ValueError: what is there is damaged, or of other settings.
    """
    weights, order = np.random.default_rng(seed).spawn(2)
    network = run.design.build(weights)
    choice = OPTIMIZERS[run.optimizer]
    optimizers = choice.make(list(network.named_parameters()), run.lr)
    schedules = [optim.lr_scheduler.LambdaLR(each, lr_lambda=lambda epoch: choice.decay**epoch) for each in optimizers]
    averages = [] if run.ema is None else [ExponentialMovingAverage(each, run.ema, warmup=True) for each in optimizers]
    turning = [each for each in optimizers if isinstance(each, ScheduleFree)]
    training = Training(network, optimizers, schedules, order, run, seed)
    if resume and checkpoint is not None and checkpoint.exists():
        training.resume(checkpoint)
        network.eval()
        for _ in range(run.epochs):
            on_epoch(run)
    else:
        _evaluate(network, data, run, averages)
    while run.epochs < epochs:
        run.lrs.append(schedules[0].get_last_lr()[0])
        with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
            for each in turning:
                each.train()
            _train_epoch(network, data, run, optimizers, order)
            for each in turning:
                each.eval()
            _evaluate(network, data, run, averages)
        if run.diverged:
            raise DivergedError(
                f"the loss is {run.train_loss[-1]} after epoch {run.epochs}: lr={run.lr:g} is too large for "
                f"{run.optimizer} here; {default_lr(run.optimizer, run.batch_size, len(data.X)):g} suits it."
            )
        for schedule in schedules:
            schedule.step()
        if checkpoint is not None:
            training.save(checkpoint)
        on_epoch(run)
    return network


def _train_epoch(
    network: Network, data: Data, run: Run, optimizers: list[optim.Optimizer], order: np.random.Generator
) -> None:
    """Go through the data once, in batches of one size: a single image left over would have no variance."""
    network.train()
    step_seconds = 0.0
    layer_seconds = network.seconds_in(TIMED)
    start = time.perf_counter()
    run.steps = 0
    for X, y in minibatches(data.X, data.y, batch_size=run.batch_size, rng=order, drop_last=True):
        evaluation = Evaluation(network, optimizers, X, y)
        before = time.perf_counter()
        _step(network, run, optimizers, evaluation)
        step_seconds += time.perf_counter() - before - evaluation.seconds
        run.steps += 1
    run.seconds.append(time.perf_counter() - start)
    run.step_seconds.append(step_seconds)
    run.layer_seconds.append(network.seconds_in(TIMED) - layer_seconds)


def _step(network: Network, run: Run, optimizers: list[optim.Optimizer], evaluation: Evaluation) -> None:
    first, *others = optimizers
    if run.clip_norm is None:
        first.step(evaluation)
        for optimizer in others:
            optimizer.step()
        return
    evaluation()
    total_norm = None  # one optimizer finds it by itself
    if others:
        total_norm = nn.utils.get_total_norm([p.grad for p in network.parameters()])
    for optimizer in optimizers:
        optimizer.step(max_norm=run.clip_norm, total_norm=total_norm)
    last: Any = first.last_step
    run.norms.append(last.norm)
    run.clip_coefficients.append(last.clip_coefficient)


class Evaluation:
    """The closure of a step: computes loss and gradients, as often as the optimizer asks, with the same dropped.

    Args:
        network: the network.
        optimizers: of its parameters.
        X, y: the samples of the step, and their labels.

    Attributes:
        seconds: what it has taken so far.
    """

    def __init__(self, network: Network, optimizers: list[optim.Optimizer], X: Array, y: Array) -> None:
        self._network, self._optimizers, self._X, self._y = network, optimizers, X, y
        self._dropouts = [(layer, layer.offset) for layer in network.layers if isinstance(layer, nn.Dropout)]
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the loss, having put the gradients into the parameters."""
        start = time.perf_counter()
        for layer, offset in self._dropouts:
            layer.offset = offset
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        loss, gradient = softmax_cross_entropy(self._network(self._X), self._y)
        self._network.backward(gradient)
        self.seconds += time.perf_counter() - start
        return loss


def _evaluate(network: Network, data: Data, run: Run, averages: Sequence[ExponentialMovingAverage]) -> None:
    network.eval()
    logits = network(data.X)
    run.train_loss.append(softmax_cross_entropy(logits, data.y)[0])
    run.train_accuracy.append(accuracy(logits, data.y))
    logits = network(data.X_held_out)
    run.held_out_loss.append(softmax_cross_entropy(logits, data.y_held_out)[0])
    run.held_out_accuracy.append(accuracy(logits, data.y_held_out))
    if averages:
        logits = _averaged_logits(network, data, averages)
        run.ema_loss.append(softmax_cross_entropy(logits, data.y_held_out)[0])
        run.ema_accuracy.append(accuracy(logits, data.y_held_out))


def _averaged_logits(network: Network, data: Data, averages: Sequence[ExponentialMovingAverage]) -> Array:
    """Return what the averaged weights make of the held-out samples.

    The running statistics of batch norm are those of other weights: the average has its own, from all samples.
    """
    norms = [layer for layer in network.layers if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    with ExitStack() as stack:
        for each in averages:
            stack.enter_context(each.applied())
        for norm in norms:
            stack.callback(norm.load_state_dict, norm.state_dict())
        update_bn([data.X], network, norms)
        return network(data.X_held_out)


def accuracy(logits: Array, labels: Array) -> float:
    """Return the share of the samples, of 1, whose label has the greatest logit."""
    return float((logits.argmax(axis=1) == labels).mean())
