"""The schedule that looks at how the training goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from ravine._arrays import as_scalar
from ravine._hyper import as_float, at_least, decay_rate, each, non_negative, one_of, optional
from ravine.optim.lr_scheduler._base import LRScheduler
from ravine.optim.lr_scheduler._target import initial_learning_rates, learning_rates
from ravine.optim.lr_scheduler._undoing import all_or_nothing
from ravine.optim.lr_scheduler._written import current_written
from ravine.optim.optimizer import Optimizer


def _metric(where: str, value: Any) -> float:
    """The best metric so far: a number; an infinite one before the first."""
    metric = as_float(where, value)
    if math.isnan(metric):
        raise ValueError(f"{where}={value!r}; expected a number.")
    return metric


class ReduceLROnPlateau(LRScheduler):
    """Times a factor when a metric stops improving: `torch.optim.lr_scheduler.ReduceLROnPlateau`.

    More than `patience` steps in a row without improvement multiply the learning rate by `factor`; the `cooldown` steps
    after that do not count. An improvement (in mode "min") is a metric below

        best - threshold |best|  ("rel"),    best - threshold  ("abs")

    and NaN is none. As the learning rate depends on the metrics, `lr_at` knows that of step 0 only.

    Args:
        optimizer: whose groups to drive.
        mode: "min" where lower is better, "max" where higher is.
        factor: what to multiply the learning rate by, from 0 up to, but not including, 1.
        patience: how many steps without improvement to bear; a whole number, 0 or more.
        threshold: how much better counts as better, 0 or more.
        threshold_mode: "rel" or "abs".
        cooldown: the steps to wait after a reduction; a whole number, 0 or more.
        min_lr: where to stop, or a list with one for each group.
        eps: reductions that are not greater than this are left out.

    Attributes:
        best, num_bad_epochs, cooldown_counter, in_cooldown: how the training has gone.
        min_lrs: where to stop in each group. Append to it when the optimizer is given another group.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
        RuntimeError: `min_lr` was a list, and the optimizer has been given another group since.

    >>> import numpy as np
    >>> from ravine import optim
    >>> opt = optim.SGD([np.zeros(2)], lr=1)
    >>> sched = ReduceLROnPlateau(opt, factor=0.5, patience=1)
    >>> opt.step([np.ones(2)])
    >>> for loss in (0.3, 0.2, 0.2, 0.2):
    ...     sched.step(loss)
    >>> opt.param_groups[0]["lr"]
    0.5
    """

    _checks = {
        "mode": one_of("min", "max"),
        "factor": decay_rate,
        "patience": at_least(0),
        "threshold": non_negative,
        "threshold_mode": one_of("rel", "abs"),
        "cooldown": at_least(0),
        "eps": non_negative,
        "default_min_lr": optional(non_negative),
        "min_lrs": each(non_negative),
        "best": _metric,
        "num_bad_epochs": at_least(0),
        "cooldown_counter": at_least(0),
    }

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: Sequence[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        self._configure(
            optimizer,
            mode=mode,
            factor=factor,
            patience=patience,
            threshold=threshold,
            threshold_mode=threshold_mode,
            cooldown=cooldown,
            eps=eps,
        )
        self.min_lrs: list[float] = self._for_each_group("min_lr", min_lr, non_negative)
        self.default_min_lr = None if isinstance(min_lr, list | tuple) else self.min_lrs[0]
        super().__init__(optimizer)

    def _check_together(self, where: str) -> None:
        least, most = len(vars(self).get("base_lrs", ())), len(self.optimizer.param_groups)
        if self.default_min_lr is None and not least <= len(self.min_lrs) <= most:
            raise ValueError(f"{where}min_lrs has {len(self.min_lrs)} values for {most} parameter groups")

    def _start(self) -> None:
        self._last_lr = learning_rates(self.optimizer)
        self.base_lrs = initial_learning_rates(self.optimizer)
        self._t = 0
        self._expected = None
        self._written = current_written(self.optimizer, self._last_lr)
        self._reset()

    mode: str
    factor: float
    patience: int
    threshold: float
    threshold_mode: str
    cooldown: int
    eps: float

    def _reset(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        """Whether steps without improvement do not count at the moment."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: float | None = None) -> None:  # type: ignore[override]
        """Take note of a metric and set the learning rates.

        Args:
            metrics: what is to improve: a number, or an array of one.
            epoch: what `last_epoch` is to be afterwards; one more without it.

        Raises:
            TypeError, ValueError: an argument is no number; nothing has changed.
        """
        if self._waits(epoch):
            return
        t = self._t + 1 if epoch is None else self._checked_epoch(epoch)
        now = learning_rates(self.optimizer, self._where)
        all_or_nothing(self, lambda: self._set(t, None, self._chainable_lr(now, self._t, t, metrics)))

    def lr_at(self, t: float) -> list[float]:
        """Return the initial learning rates for t = 0.

        Raises:
            ValueError: t is another step; its learning rate depends on the metrics.
        """
        if t != 0:
            self._check_step(t)
            raise self._refuse_without_metrics(t)
        return list(self.base_lrs)

    def _knows(self, t: float) -> bool:
        return t == 0

    def _needs_metrics(self) -> bool:
        return True

    def _arrive(self, t: float, lrs: list[float]) -> None:
        if t == 0:
            self._reset()

    def _chainable_lr(
        self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None
    ) -> list[float]:
        if t0 is None:
            return list(lrs)
        try:
            metric = float(as_scalar(metrics))
        except (TypeError, ValueError):
            raise TypeError(
                f"{self._where}metrics={metrics!r} is a {type(metrics).__name__}; expected a number, such as the loss. "
                "Call step(metrics=loss) on the schedule that contains this one."
            ) from None
        floors = self.min_lrs if self.default_min_lr is None else [self.default_min_lr] * len(lrs)
        if len(floors) != len(lrs):
            raise RuntimeError(
                f"{self._where}the optimizer has {len(lrs)} parameter groups, min_lr {len(floors)} values; append one "
                "to min_lrs for each group that was added."
            )
        self.base_lrs += lrs[len(self.base_lrs) :]
        if self._is_better(metric):
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs <= self.patience:
            return list(lrs)
        self.cooldown_counter = self.cooldown
        self.num_bad_epochs = 0
        reduced = [max(lr * self.factor, least) for lr, least in zip(lrs, floors, strict=True)]
        return [less if lr - less > self.eps else lr for lr, less in zip(lrs, reduced, strict=True)]

    def _is_better(self, metric: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        metric, best = sign * metric, sign * self.best
        if math.isinf(best):
            return metric < best
        if self.threshold_mode == "abs":
            return metric < best - self.threshold
        # The margin is measured from best towards better, whatever the sign of best.
        return metric < best * (1 - math.copysign(self.threshold, best))
