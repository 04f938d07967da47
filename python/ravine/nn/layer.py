"""What all layers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from ravine._arrays import as_array, describe
from ravine._hyper import flag
from ravine.nn.parameter import Parameter

Array = np.ndarray[Any, Any]
AnyLayer = TypeVar("AnyLayer", bound="Layer")


class Layer:
    """Base class of all layers: training or evaluation, parameters, and a state that can be saved.

    Attributes:
        training: whether the layer does what it does in training. `train()` and `eval()` set it.
    """

    # What a copy, which has made no forward pass, does not have from the original.
    _without_a_pass: ClassVar[Mapping[str, Any]] = {"_context": None}

    def __init__(self) -> None:
        self.training = True

    def train(self: AnyLayer, mode: bool = True) -> AnyLayer:
        """Set the layer to training, or with False to evaluation, and return it."""
        self.training = flag(f"{type(self).__name__}.train: mode", mode)
        return self

    def eval(self: AnyLayer) -> AnyLayer:
        """Set the layer to evaluation and return it."""
        return self.train(False)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield the name and the `Parameter` of each of its parameters."""
        yield from ()

    def parameters(self) -> Iterator[Parameter]:
        """Yield its parameters, as optimizers take them."""
        for _, parameter in self.named_parameters():
            yield parameter

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Fill the gradients of its parameters with zeros in place, or drop them."""
        for parameter in self.parameters():
            parameter.zero_grad(set_to_none)

    def _state(self) -> dict[str, Any]:
        """Return what makes up its state, by attribute: the arrays themselves, and whole numbers."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: arrays and whole numbers by name."""
        return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in self._state().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state that `state_dict` returned. Arrays are written in place.

        Raises:
            ValueError: something is missing, unknown, or of another shape or dtype. The message lists everything; the
                layer is as it was.
        """
        state = self._state()
        problems = [f"{name!r} is missing" for name in state if name not in state_dict]
        problems += [f"{name!r} is unknown" for name in state_dict if name not in state]
        found: dict[str, Any] = {}
        for name in state.keys() & state_dict.keys():
            came, there = as_array(state_dict[name]), state[name]
            if isinstance(there, np.ndarray):
                if came is None or came.shape != there.shape or came.dtype != there.dtype:
                    came_as = describe(state_dict[name] if came is None else came)
                    problems.append(f"{name!r} is {came_as}; expected {describe(there)}")
                found[name] = came
            elif came is not None and came.ndim == 0 and came.dtype.kind in "iu":
                found[name] = int(came)
            elif isinstance(state_dict[name], int | np.integer) and state_dict[name] >= 0:
                found[name] = int(state_dict[name])
            else:
                problems.append(f"{name!r} is {state_dict[name]!r}; expected a whole number, 0 or more")
        if problems:
            raise ValueError(f"{type(self).__name__}.load_state_dict: {'; '.join(sorted(problems))}.")
        for name, value in found.items():
            if isinstance(state[name], np.ndarray):
                state[name][...] = value
            else:
                setattr(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), **self._without_a_pass}

    def _repr_arguments(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._repr_arguments()})"
