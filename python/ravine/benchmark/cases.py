"""The rules under measurement, and who runs each of them: ravine, NumPy in place, torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ravine import config, optim
from ravine._extras import require
from ravine.benchmark.inplace import RULES

Array = np.ndarray[Any, Any]
Step = Callable[[], object]

# How torch runs an optimizer: a pass over all tensors for each operation, tensor by tensor, or one pass.
TORCH_IMPLEMENTATIONS = ("for-loop", "foreach", "fused")

_FUSED_IN_TORCH = ("SGD", "Adagrad", "Adam", "AdamW")
_FOREACH_IN_TORCH = ("ASGD", "Adadelta", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop")


@dataclass(frozen=True)
class Case:
    """An optimizer in one of its configurations.

    Attributes:
        optimizer: the class.
        states: how many arrays it keeps beside each parameter.
        options: what differs from the defaults.
    """

    optimizer: type[optim.Optimizer]
    states: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def ravine(self, params: Sequence[Array], grads: list[Array]) -> Step:
        """Return a function that does one step."""
        optimizer = self.optimizer(params, **self.options)
        return lambda: optimizer.step(grads)

    def numpy(self, params: Sequence[Array], grads: list[Array]) -> Step:
        """Return a function that does one step in NumPy's in-place form."""
        rule = RULES[self.optimizer](params, self.hyper, self.states)
        return lambda: rule.step(grads)

    @property
    def hyper(self) -> Mapping[str, Any]:
        """The hyper-parameters, as in an optimizer's `defaults`."""
        return self.optimizer([np.zeros(1)], **self.options).defaults

    @property
    def in_torch(self) -> bool:
        """Whether torch has this optimizer."""
        return self.optimizer.__name__ in _FUSED_IN_TORCH + _FOREACH_IN_TORCH

    @property
    def fused_in_torch(self) -> bool:
        """Whether torch has this optimizer in fused form."""
        return self.optimizer.__name__ in _FUSED_IN_TORCH

    def torch(self, params: Sequence[Array], grads: list[Array], implementation: str | None = None) -> Step:
        """Return a function that does one step of torch's optimizer, on as many threads as ravine.

        Args:
            params: the parameters, which torch updates where they are.
            grads: their gradients.
            implementation: one of `TORCH_IMPLEMENTATIONS`; None for the fused one, or foreach where there is none.

        Raises:
            MissingExtraError: torch is not installed.
            AttributeError: torch has no such optimizer.
        """
        implementation = implementation or ("fused" if self.fused_in_torch else "foreach")
        kind = {"foreach": False} if implementation == "for-loop" else {implementation: True}
        tensors = torch_parameters(params, grads)
        optimizer = getattr(require("torch", "oracles").optim, self.optimizer.__name__)
        step: Step = optimizer(tensors, **self.options, **kind).step
        return step


def torch_parameters(params: Sequence[Array], grads: Sequence[Array]) -> list[Any]:
    """Return torch parameters with gradients over the same memory, after giving torch as many threads as ravine has.

    Raises:
        MissingExtraError: torch is not installed.
    """
    torch = require("torch", "oracles")
    torch.set_num_threads(config.get_num_threads())
    tensors = [torch.nn.Parameter(torch.from_numpy(param)) for param in params]
    for tensor, grad in zip(tensors, grads, strict=True):
        tensor.grad = torch.from_numpy(grad)
    return tensors


CASES = {
    "sgd": Case(optim.SGD, 0),
    "momentum": Case(optim.SGD, 1, {"momentum": 0.9}),
    "nesterov": Case(optim.SGD, 1, {"momentum": 0.9, "nesterov": True}),
    "adagrad": Case(optim.Adagrad, 1),
    "rmsprop": Case(optim.RMSprop, 1),
    "rmsprop-momentum": Case(optim.RMSprop, 2, {"momentum": 0.9}),
    "rmsprop-centered": Case(optim.RMSprop, 2, {"centered": True}),
    "rmsprop-centered-momentum": Case(optim.RMSprop, 3, {"centered": True, "momentum": 0.9}),
    "adam": Case(optim.Adam, 2),
    "amsgrad": Case(optim.Adam, 3, {"amsgrad": True}),
    "adamw": Case(optim.AdamW, 2),
    "adadelta": Case(optim.Adadelta, 2),
    "adamax": Case(optim.Adamax, 2),
    "nadam": Case(optim.NAdam, 2),
    "radam": Case(optim.RAdam, 2),
    "rprop": Case(optim.Rprop, 2),
    "asgd": Case(optim.ASGD, 1),
    "lion": Case(optim.Lion, 1),
    "adabelief": Case(optim.AdaBelief, 2),
    "adabelief-nesterov": Case(optim.AdaBelief, 2, {"nesterov": True}),
    "yogi": Case(optim.Yogi, 2),
    "adan": Case(optim.Adan, 4),
    "ademamix": Case(optim.AdEMAMix, 3),
    "adopt": Case(optim.ADOPT, 2),
    "adopt-nesterov": Case(optim.ADOPT, 2, {"nesterov": True}),
    "sgd-schedule-free": Case(optim.SGDScheduleFree, 1),
    "adamw-schedule-free": Case(optim.AdamWScheduleFree, 2),
}
