"""The optimizers under measurement, and their two contenders: ravine and `ravine.reference`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ravine import optim, reference
from ravine._optimizers import default_of, optimizers, takes_matrices_only

Array = np.ndarray[Any, Any]
Step = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """An optimizer in one of its configurations.

    Attributes:
        optimizer: the class.
        options: what differs from the defaults.
    """

    optimizer: type[Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def matrices(self) -> bool:
        """Whether it takes nothing else; other arrays are then seen as matrices, (first axis, all others)."""
        return takes_matrices_only(self.optimizer)

    def shaped(self, arrays: Sequence[Array]) -> list[Array]:
        """Return arrays as the optimizer takes them, over the same memory."""
        if not self.matrices:
            return list(arrays)
        return [array.reshape(len(array) if array.ndim > 1 else 1, -1) for array in arrays]

    def ravine(self, params: Sequence[Array], grads: Sequence[Array]) -> Step:
        """Return a function that does one step."""
        optimizer, gradients = self.optimizer(self.shaped(params), **self.options), self.shaped(grads)
        return lambda: optimizer.step(gradients)

    def reference(self, params: Sequence[Array], grads: Sequence[Array]) -> Step:
        """Return a function that does one step in plain NumPy."""
        rule = getattr(reference, self.optimizer.__name__.lower())
        settings, params, grads = dict(self.options), self.shaped(params), self.shaped(grads)
        states: list[dict[str, Any]] = [{} for _ in params]

        def step_of_each() -> None:
            for p, g, state in zip(params, grads, states, strict=True):
                rule(p, g, state, **settings)

        def step_of_all() -> None:
            settings.update(rule(params, grads, states, **settings) or {})

        return step_of_all if next(iter(inspect.signature(rule).parameters)) == "params" else step_of_each


_CONFIGURED = {
    "momentum": Case(optim.SGD, {"momentum": 0.9}),
    "nesterov": Case(optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop-momentum": Case(optim.RMSprop, {"momentum": 0.9}),
    "rmsprop-centered": Case(optim.RMSprop, {"centered": True}),
    "rmsprop-centered-momentum": Case(optim.RMSprop, {"centered": True, "momentum": 0.9}),
    "amsgrad": Case(optim.Adam, {"amsgrad": True}),
    "sparse-adam": Case(optim.SparseAdam),
    "sgd-schedule-free": Case(optim.SGDScheduleFree),
    "adamw-schedule-free": Case(optim.AdamWScheduleFree),
}


def _found() -> dict[str, Case]:
    """Return every other optimizer with its defaults, and looking ahead where it can. LBFGS asks for losses."""
    cases = {}
    configured = {(case.optimizer, "nesterov" in case.options) for case in _CONFIGURED.values()}
    defaults = {case.optimizer for case in _CONFIGURED.values() if not case.options} | {optim.LBFGS}
    for name, optimizer in optimizers().items():
        if optimizer not in defaults:
            cases[name] = Case(optimizer)
        if default_of(optimizer, "nesterov") is False and (optimizer, True) not in configured:
            cases[f"{name}-nesterov"] = Case(optimizer, {"nesterov": True})
    return cases


CASES = dict(sorted({**_found(), **_CONFIGURED}.items()))
