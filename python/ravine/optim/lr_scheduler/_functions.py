"""Schedules that are given as functions of the step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ravine._arrays import describe
from ravine._hyper import MOST
from ravine._saved import Loader, Restore, is_list, noted
from ravine.optim.lr_scheduler._base import LRScheduler
from ravine.optim.lr_scheduler._recurrence import Recurrence
from ravine.optim.optimizer import Optimizer


class _OfFunctions(LRScheduler):
    """Base class of schedules with a function of the step for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        self._lr_lambdas: list[Callable[..., float]] = self._for_each_group("lr_lambda", lr_lambda, check_callable)
        super().__init__(optimizer, last_epoch)

    @property
    def lr_lambdas(self) -> list[Callable[..., float]]:
        """The function of each group."""
        return self._lr_lambdas

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs, the attributes of callable objects included."""
        return {**super().state_dict(), "lr_lambdas": [saved_callable(f) for f in self._lr_lambdas]}

    def _checked_state(self, state: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        return with_callables(super()._checked_state, state, "lr_lambdas", self._lr_lambdas, problems)


class LambdaLR(_OfFunctions):
    """The initial learning rate times a function of the step: `torch.optim.lr_scheduler.LambdaLR`.

        lr(t) = initial_lr f(t)

    Args:
        optimizer: whose groups to drive.
        lr_lambda: the function f of t = 0, 1, ..., or a list with one for each group.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError: `lr_lambda` is not callable.
        ValueError: another number of functions than groups.

    Functions are not saved by `state_dict`: construct the schedule that loads it with the same. Objects with
    `__call__` are saved, by their attributes.

    >>> import numpy as np
    >>> from ravine import optim
    >>> opt = optim.SGD([np.zeros(2)], lr=100)
    >>> sched = LambdaLR(opt, lr_lambda=lambda epoch: 0.5**epoch)
    >>> sched.lr_at(3)
    [12.5]
    """

    def lr_at(self, t: float) -> list[float]:
        """Return initial_lr f(t) for each group; nothing changes."""
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t)
        return [float(base * function(t)) for base, function in zip(self.base_lrs, self._lr_lambdas, strict=True)]


class MultiplicativeLR(_OfFunctions):
    """The learning rate times the function's value at each step: `torch.optim.lr_scheduler.MultiplicativeLR`.

        lr(0) = initial_lr,  lr(t) = lr(t - 1) f(t),  hence  lr(t) = initial_lr f(1) f(2) ... f(t)

    Args:
        optimizer: whose groups to drive.
        lr_lambda: the function f of t = 1, 2, ..., or a list with one for each group.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError: `lr_lambda` is not callable.
        ValueError: another number of functions than groups.

    `lr_at(t)` calls the function for every step up to t, but remembers where it was. Functions are saved as by
    `LambdaLR`.

    >>> import numpy as np
    >>> from ravine import optim
    >>> opt = optim.SGD([np.zeros(2)], lr=8)
    >>> MultiplicativeLR(opt, lr_lambda=lambda epoch: 0.5).lr_at(3)
    [1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._product = Recurrence(self._first, self._times)
        super().__init__(optimizer, lr_lambda, last_epoch)

    def lr_at(self, t: float) -> list[float]:
        """Return initial_lr f(1) ... f(t) for each group; nothing changes."""
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t, whole=True)
        return self._product.at(int(t))

    def _takes_fractions(self) -> bool:
        return False

    def _first(self) -> list[float]:
        return list(self.base_lrs)

    def _times(self, lrs: Sequence[float], t: int) -> list[float]:
        return [float(lr * function(t)) for lr, function in zip(lrs, self._lr_lambdas, strict=False)]

    def _chainable_lr(
        self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None
    ) -> list[float]:
        result = list(lrs)
        for t in range(math.floor(t0 or 0) + 1, math.floor(t1) + 1):
            result = self._times(result, t)
        return result

    def _prepare(self) -> None:
        self._product.forget()


def check_callable(where: str, value: Any) -> Callable[..., float]:
    """A function of the step, or an object that can be called as one."""
    if not callable(value):
        raise TypeError(f"{where} is a {type(value).__name__}; expected a function of the step.")
    return value  # type: ignore[no-any-return]


def saved_callable(function: Callable[..., float]) -> dict[str, Any] | None:
    """Return the attributes of a callable object; None for a plain function."""
    plain = not hasattr(function, "__dict__") or hasattr(function, "__code__") or isinstance(function, type)
    return None if plain else copy.deepcopy(vars(function))


def with_callables(
    loader: Loader, state: Mapping[str, Any], name: str, functions: Sequence[Callable[..., float]], problems: list[str]
) -> Restore:
    """Return what takes over a saved state and, under a name in it, the attributes of callable objects."""
    saved = state.get(name, [None] * len(functions))
    if not is_list(saved) or len(saved) != len(functions):
        came = f"has {len(saved)} entries" if is_list(saved) else f"is {describe(saved)}"
        problems.append(f"{name} {came}; expected a list of {len(functions)}, one for each function")
        saved = ()
    attributes = [
        (function, noted(partial(_attributes_of, function), f"{name}[{i}]", entry, problems))
        for i, (function, entry) in enumerate(zip(functions, saved, strict=False))
        if entry is not None
    ]
    restore = loader({key: value for key, value in state.items() if key != name}, problems)

    def restore_all() -> None:
        for function, values in attributes:
            vars(function).update(values)
        restore()

    return restore_all


def _attributes_of(function: Callable[..., float], where: str, attributes: Any) -> dict[str, Any]:
    """Return a copy of the saved attributes of a callable object."""
    if saved_callable(function) is None:
        raise ValueError(
            f"{where} holds the attributes of an object, but this schedule was constructed with a plain function; "
            "construct it with an object of the same class"
        )
    if not isinstance(attributes, Mapping) or not all(isinstance(key, str) for key in attributes):
        raise TypeError(f"{where} is {describe(attributes)}; expected a dict of the attributes of an object")
    return copy.deepcopy(dict(attributes))
