"""Who else makes the steps of a case, beside ravine: NumPy and torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ravine import config
from ravine._extras import require
from ravine.benchmark.cases import CASES, Case, Step

from . import inplace

Array = np.ndarray[Any, Any]

IN_PLACE: dict[str, type[inplace.InPlace]] = {
    "sgd": inplace.SGD,
    "momentum": inplace.SGD,
    "adagrad": inplace.Adagrad,
    "rmsprop": inplace.RMSprop,
    "adam": inplace.Adam,
    "adamw": inplace.Adam,
}


def hyper(case: Case) -> Mapping[str, Any]:
    """Return a case's hyper-parameters, as in an optimizer's `defaults`."""
    hyper: Mapping[str, Any] = case.optimizer(case.shaped([np.zeros(1)]), **case.options).defaults
    return hyper


def states(case: Case) -> int:
    """Return how many arrays like the parameter are kept beside each; a factored rule's rows and columns are none."""
    p = np.zeros((2, 3))
    optimizer = case.optimizer([p], **case.options)
    optimizer.step([np.ones_like(p)])
    return sum(np.shape(state) == p.shape for state in optimizer.state[p].values())


def numpy(name: str, params: Sequence[Array], grads: Sequence[Array]) -> Step:
    """Return a function that does one step of one of `CASES` in NumPy, in place where there is such a form."""
    case = CASES[name]
    if name not in IN_PLACE:
        return case.reference(params, grads)
    rule = IN_PLACE[name](params, hyper(case), states(case))
    return lambda: rule.step(grads)


def in_torch(case: Case) -> bool:
    """Whether torch has this optimizer.

    Raises:
        MissingExtraError: torch is not installed.
    """
    return hasattr(require("torch", "oracles").optim, case.optimizer.__name__)


def torch(case: Case, params: Sequence[Array], grads: Sequence[Array], implementation: str | None = None) -> Step:
    """Return a function that does one step of torch's optimizer, on as many threads as ravine.

    Args:
        case: what to do.
        params: the parameters, which torch updates where they are.
        grads: their gradients.
        implementation: "for-loop", "foreach" (a pass over all tensors for each operation) or "fused" (one pass); None
            for the last of these that torch has.

    Raises:
        MissingExtraError: torch is not installed.
        AttributeError: torch has no such optimizer.
    """
    make = getattr(require("torch", "oracles").optim, case.optimizer.__name__)
    tensors = torch_parameters(case.shaped(params), case.shaped(grads))
    if make.__name__ == "SparseAdam":  # asks for sparse gradients; here they name all rows
        for tensor in tensors:
            tensor.grad = tensor.grad.to_sparse(1)
    has = inspect.signature(make).parameters
    implementation = implementation or next((name for name in ("fused", "foreach") if name in has), None)
    kind = {"foreach": False} if implementation == "for-loop" else {implementation: True} if implementation else {}
    step: Step = make(tensors, **case.options, **kind).step
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
