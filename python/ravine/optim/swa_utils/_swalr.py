"""The schedule of stochastic weight averaging."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ravine._hyper import MOST, at_least, each, non_negative, one_of
from ravine.optim.lr_scheduler._factor import FactorLR
from ravine.optim.optimizer import Optimizer


class SWALR(FactorLR):
    """From the learning rate there is to a constant one: `torch.optim.swa_utils.SWALR`.

        lr(t) = swa_lr + (lr(0) - swa_lr) f(t),    x = min(t / anneal_epochs, 1)
        f(t) = (1 + cos(pi x)) / 2  ("cos"),    1 - x  ("linear")

    Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization", section 3.

    Args:
        optimizer: whose groups to drive.
        swa_lr: the learning rate to go to, or a list with one for each group.
        anneal_epochs: the steps on the way; a whole number, 0 (at once) or more.
        anneal_strategy: "cos" or "linear".
        last_epoch: see `LRScheduler`.

    Attributes:
        base_lrs: the learning rate of each group when the schedule was made.
        swa_lrs: the learning rate of each group to go to.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    It may be made at the beginning and stepped only when averaging begins: it goes on from the learning rate that is
    there then.
    """

    _checks = {
        "anneal_epochs": at_least(0),
        "anneal_strategy": one_of("cos", "linear"),
        "swa_lrs": each(non_negative),
    }
    _per_group = ("swa_lrs",)
    _starts_from_current = True
    _floor = 0.0  # one for each group, see _floors

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        self._configure(optimizer, anneal_epochs=anneal_epochs, anneal_strategy=anneal_strategy)
        self.swa_lrs: list[float] = self._for_each_group("swa_lr", swa_lr, non_negative)
        super().__init__(optimizer, last_epoch)

    anneal_epochs: int
    anneal_strategy: str

    def _factor(self, t: float) -> float:
        if t >= self.anneal_epochs:
            return 0.0
        share = t / self.anneal_epochs
        return (1 + math.cos(math.pi * share)) / 2 if self.anneal_strategy == "cos" else 1 - share

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ... or between; nothing changes."""
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t)
        factor = self._factor(t)
        rest = 1 - factor
        return [base * factor + swa_lr * rest for base, swa_lr in zip(self.base_lrs, self.swa_lrs, strict=True)]

    def _floors(self) -> list[float]:
        return self.swa_lrs

    def _chainable_lr(
        self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None
    ) -> list[float]:
        if self._factor(t1) == 0:
            return self.swa_lrs[: len(lrs)]
        return super()._chainable_lr(lrs, t0, t1, metrics)

    def _continue(self, t: int) -> None:
        # The annealing began at the learning rate from which it has come to the present one.
        factor = self._factor(t)
        self._own_bases = [
            float(group["lr"]) if factor == 0 else swa_lr + (group["lr"] - swa_lr) / factor
            for group, swa_lr in zip(self.optimizer.param_groups, self.swa_lrs, strict=True)
        ]
        super()._continue(t)
