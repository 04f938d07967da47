"""The public optimizers, found rather than listed: whoever adds one has nothing to add here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ravine import optim


def optimizers() -> dict[str, type[optim.Optimizer]]:
    """Return the optimizers that make steps of their own, by their names in lower case.

    `Handoff` is none of them: its stages make the steps.
    """
    public = [getattr(optim, name) for name in optim.__all__]
    classes = [value for value in public if inspect.isclass(value) and issubclass(value, optim.Optimizer)]
    return {each.__name__.lower(): each for each in classes if each not in (optim.Optimizer, optim.Handoff)}


def default_of(optimizer: type[optim.Optimizer], argument: str) -> Any:
    """Return an argument's default, None where there is no such argument."""
    parameter = inspect.signature(optimizer).parameters.get(argument)
    return None if parameter is None else parameter.default


def takes_matrices_only(optimizer: Callable[..., optim.Optimizer]) -> bool:
    """Return whether an optimizer refuses what is no matrix."""
    try:
        optimizer([np.zeros(1)])
    except ValueError:
        return True
    return False
