"""The rules under measurement, and who runs each of them: ravine, NumPy in place, torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ravine import config, optim
from ravine._extras import require
from ravine.benchmark import inplace, inplace_norms

Array = np.ndarray[Any, Any]
Step = Callable[[], object]

# How torch runs an optimizer: a pass over all tensors for each operation, tensor by tensor, or one pass.
TORCH_IMPLEMENTATIONS = ("for-loop", "foreach", "fused")

_FUSED_IN_TORCH = ("SGD", "Adagrad", "Adam", "AdamW")
_FOREACH_IN_TORCH = ("ASGD", "Adadelta", "Adafactor", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop")
_PLAIN_IN_TORCH = ("Muon",)
_SPARSE_IN_TORCH = ("SparseAdam",)  # asks for sparse gradients; here they name all rows

_IN_PLACE: dict[type[optim.Optimizer], Callable[[Sequence[Array], Mapping[str, Any], int], Any]] = {
    optim.SGD: inplace.SGD,
    optim.Rprop: inplace.Rprop,
    optim.Lion: inplace.Lion,
    optim.ASGD: inplace.ASGD,
    optim.SGDScheduleFree: inplace.ScheduleFree,
    optim.Adagrad: inplace.Adagrad,
    optim.RMSprop: inplace.RMSprop,
    optim.Adadelta: inplace.Adadelta,
    optim.Adam: inplace.Adam,
    optim.AdamW: inplace.Adam,
    optim.SparseAdam: inplace.SparseAdam,
    optim.Adamax: inplace.Adamax,
    optim.NAdam: inplace.NAdam,
    optim.RAdam: inplace.RAdam,
    optim.AdaBelief: inplace.AdaBelief,
    optim.Yogi: inplace.Yogi,
    optim.AdEMAMix: inplace.AdEMAMix,
    optim.Adan: inplace.Adan,
    optim.ADOPT: inplace.ADOPT,
    optim.AdamWScheduleFree: inplace.ScheduleFree,
    optim.LARS: inplace_norms.LARS,
    optim.LAMB: inplace_norms.LAMB,
    optim.Adafactor: inplace_norms.Adafactor,
    optim.Prodigy: inplace_norms.Prodigy,
    optim.SWATS: inplace_norms.SWATS,
    optim.Muon: inplace_norms.Muon,
}


@dataclass(frozen=True)
class Case:
    """An optimizer in one of its configurations.

    Attributes:
        optimizer: the class.
        states: how many arrays it keeps beside each parameter.
        options: what differs from the defaults.
        exact: whether the form in NumPy gives the same bits.
        matrices: whether it takes nothing else; other arrays are then seen as matrices, (first axis, all others).
    """

    optimizer: type[Any]
    states: int
    options: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True
    matrices: bool = False

    def _shaped(self, arrays: Sequence[Array]) -> list[Array]:
        if not self.matrices:
            return list(arrays)
        return [array.reshape(len(array) if array.ndim > 1 else 1, -1) for array in arrays]

    def ravine(self, params: Sequence[Array], grads: list[Array]) -> Step:
        """Return a function that does one step."""
        optimizer, grads = self.optimizer(self._shaped(params), **self.options), self._shaped(grads)
        return lambda: optimizer.step(grads)

    def numpy(self, params: Sequence[Array], grads: list[Array]) -> Step:
        """Return a function that does one step in NumPy's in-place form."""
        params, grads = self._shaped(params), self._shaped(grads)
        rule = _IN_PLACE[self.optimizer](params, self.hyper, self.states)
        return lambda: rule.step(grads)

    @property
    def hyper(self) -> Mapping[str, Any]:
        """The hyper-parameters, as in an optimizer's `defaults`."""
        hyper: Mapping[str, Any] = self.optimizer(self._shaped([np.zeros(1)]), **self.options).defaults
        return hyper

    @property
    def in_torch(self) -> bool:
        """Whether torch has this optimizer."""
        names = _FUSED_IN_TORCH + _FOREACH_IN_TORCH + _PLAIN_IN_TORCH + _SPARSE_IN_TORCH
        return self.optimizer.__name__ in names

    @property
    def fused_in_torch(self) -> bool:
        """Whether torch has this optimizer in fused form."""
        return self.optimizer.__name__ in _FUSED_IN_TORCH

    def torch(self, params: Sequence[Array], grads: list[Array], implementation: str | None = None) -> Step:
        """Return a function that does one step of torch's optimizer, on as many threads as ravine.

        Args:
            params: the parameters, which torch updates where they are.
            grads: their gradients.
            implementation: one of `TORCH_IMPLEMENTATIONS`; None for the fused one, or the fastest where there is none.

        Raises:
            MissingExtraError: torch is not installed.
            AttributeError: torch has no such optimizer.
        """
        name = self.optimizer.__name__
        tensors = torch_parameters(self._shaped(params), self._shaped(grads))
        if name in _SPARSE_IN_TORCH:
            for tensor in tensors:
                tensor.grad = tensor.grad.to_sparse(1)
        kind = {"foreach": False} if implementation == "for-loop" else {implementation: True} if implementation else {}
        if not implementation and (self.fused_in_torch or name in _FOREACH_IN_TORCH):
            kind = {"fused" if self.fused_in_torch else "foreach": True}
        step: Step = getattr(require("torch", "oracles").optim, name)(tensors, **self.options, **kind).step
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
    "sparse-adam": Case(optim.SparseAdam, 2),
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
    "lars": Case(optim.LARS, 1, exact=False),
    "lars-nesterov": Case(optim.LARS, 1, {"nesterov": True}, exact=False),
    "lamb": Case(optim.LAMB, 2, exact=False),
    "adafactor": Case(optim.Adafactor, 0, exact=False),
    "prodigy": Case(optim.Prodigy, 4, exact=False),
    "swats": Case(optim.SWATS, 2, exact=False),
    "muon": Case(optim.Muon, 1, exact=False, matrices=True),
    "sgd-schedule-free": Case(optim.SGDScheduleFree, 1),
    "adamw-schedule-free": Case(optim.AdamWScheduleFree, 2),
}
