"""Learning-rate schedules: `torch.optim.lr_scheduler`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ravine.optim.optimizer import Optimizer

__all__ = ["LRScheduler", "LambdaLR"]


class LRScheduler:
    """Base class: sets the learning rate of every group of an optimizer as a function of a count of steps.

    A subclass gives `lr_at(t)`, the learning rates at step t. Constructing a schedule sets those of step 0 and keeps
    the learning rate that each group had as its "initial_lr". Groups that the optimizer is given later keep their own.

    Args:
        optimizer: whose groups to drive.
        last_epoch: the step to continue after; -1 starts anew. To continue, every group needs its "initial_lr", which
            the optimizer's state_dict carries.

    Attributes:
        base_lrs: the "initial_lr" of each group.
        last_epoch: the step that the learning rates stand at.

    Raises:
        TypeError: `optimizer` is no Optimizer.
        ValueError: `last_epoch` cannot be continued.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        owner = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{owner}: optimizer is a {type(optimizer).__name__}; expected a ravine.optim optimizer.")
        if not isinstance(last_epoch, int) or last_epoch < -1:
            raise ValueError(
                f"{owner}: last_epoch={last_epoch!r}; expected -1 to start anew, or a step to go on after."
            )
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        for index, group in enumerate(optimizer.param_groups):
            if "initial_lr" not in group:
                raise ValueError(
                    f"{owner}: last_epoch={last_epoch} goes on with an earlier schedule, but param_groups[{index}] has "
                    "no 'initial_lr'. Load the optimizer's state_dict first, or set group['initial_lr']."
                )
        self.optimizer = optimizer
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._started = False
        self.step()

    def lr_at(self, t: int) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ...; nothing changes."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """Return the learning rates that were set last, one for each group."""
        return list(self._last_lr)

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next step, or to step `epoch`, and set the learning rates there.

        Call it after `optimizer.step()`, once an epoch or once a batch as the schedule is meant.
        """
        if self._started and self.last_epoch == 0 and not self.optimizer.has_stepped:
            warnings.warn(
                f"{type(self).__name__}.step() was called before optimizer.step(), so the first learning rate of the "
                "schedule was never used. Call optimizer.step() first, then the schedule's step().",
                stacklevel=2,
            )
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._started = True
        self._last_lr = self.lr_at(self.last_epoch)
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=False):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs; not the optimizer, and no functions."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs), "_last_lr": list(self._last_lr)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved schedule of the same class and optimizer.

        The optimizer's own state_dict holds its learning rates; this sets none.

        Raises:
            ValueError: the saved state does not fit; nothing has changed.
        """
        missing = [key for key in ("last_epoch", "base_lrs", "_last_lr") if key not in state_dict]
        groups = len(self.base_lrs)
        if missing or len(state_dict["base_lrs"]) != groups or len(state_dict["_last_lr"]) != groups:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: "
                + (f"{missing[0]!r} is missing" if missing else f"expected learning rates of {groups} groups")
                + "; load what state_dict() of the same schedule returned."
            )
        self.last_epoch = int(state_dict["last_epoch"])
        self.base_lrs = [float(lr) for lr in state_dict["base_lrs"]]
        self._last_lr = [float(lr) for lr in state_dict["_last_lr"]]


class LambdaLR(LRScheduler):
    """The initial learning rate times a function of the step: `torch.optim.lr_scheduler.LambdaLR`.

        lr(t) = initial_lr f(t)

    Args:
        optimizer: whose groups to drive.
        lr_lambda: the function f of t = 0, 1, ..., or a list with one for each group.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError: `lr_lambda` is not callable.
        ValueError: another number of functions than groups.

    Functions are not saved by `state_dict`; objects with `__call__` are, by their attributes.

    >>> import numpy as np
    >>> from ravine import optim
    >>> opt = optim.SGD([np.zeros(2)], lr=100)
    >>> sched = LambdaLR(opt, lr_lambda=lambda epoch: 0.5**epoch)
    >>> sched.lr_at(3)
    [12.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(getattr(optimizer, "param_groups", ()))
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, Sequence) else [lr_lambda] * groups
        if len(self.lr_lambdas) != groups:
            raise ValueError(
                f"LambdaLR: lr_lambda has {len(self.lr_lambdas)} functions for {groups} parameter groups; "
                "give one for each, or a single one for all."
            )
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(f"LambdaLR: lr_lambda is a {type(function).__name__}; expected a function of the step.")
        super().__init__(optimizer, last_epoch)

    def lr_at(self, t: int) -> list[float]:
        """Return initial_lr f(t) for each group."""
        return [base * function(t) for base, function in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs, the attributes of callable objects included."""
        kept = [dict(vars(f)) if not _is_function(f) else None for f in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": kept}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved schedule of the same class and optimizer."""
        kept = state_dict.get("lr_lambdas", [None] * len(self.lr_lambdas))
        if len(kept) != len(self.lr_lambdas):
            raise ValueError(f"LambdaLR.load_state_dict: expected {len(self.lr_lambdas)} functions, got {len(kept)}.")
        super().load_state_dict(state_dict)
        for function, attributes in zip(self.lr_lambdas, kept, strict=True):
            if attributes is not None:
                vars(function).update(attributes)


def _is_function(value: object) -> bool:
    return not hasattr(value, "__dict__") or hasattr(value, "__code__") or isinstance(value, type)
