"""What all layers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from ravine._arrays import as_input, describe
from ravine._hyper import Check, flag
from ravine._saved import checked, listed, noted, of_array, of_scalar
from ravine.nn.parameter import Parameter

Array = np.ndarray[Any, Any]
AnyLayer = TypeVar("AnyLayer", bound="Layer")


class Layer:
    """Base class of all layers: training or evaluation, parameters, and a state that can be saved.

    Attributes:
        training: whether the layer does what it does in training. `train()` and `eval()` set it.
    """

    # The check of each whole number in its state.
    _checks: ClassVar[Mapping[str, Check]] = {}

    def __init__(self) -> None:
        self.training = True

    def train(self: AnyLayer, mode: bool = True) -> AnyLayer:
        """Set the layer to training, or with False to evaluation, and return it."""
        self.training = flag(f"{type(self).__name__}.train: mode", mode)
        return self

    def eval(self: AnyLayer) -> AnyLayer:
        """Set the layer to evaluation and return it."""
        return self.train(False)

    def _is_training(self) -> bool:
        """Return `training`, or raise where something else has been put there."""
        training = self.training
        return training if type(training) is bool else flag(f"{type(self).__name__}: training", training)

    def _as_array(self, x: Any) -> Array:
        """Return an input as an array over the same memory, or raise where it is none."""
        return x if isinstance(x, np.ndarray) else as_input(x, f"{type(self).__name__}: x")

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
        checked(type(self).__name__, "layer", self._loader, state_dict)()

    def _loader(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        """Check a saved state and list what does not fit; return what takes it over."""
        with listed(problems):
            state = self._state()
        if problems:
            return lambda: None
        if not isinstance(state_dict, Mapping):
            problems.append(f"it is {describe(state_dict)}; expected a dict with {', '.join(map(repr, state))}")
            state_dict = state
        problems += [f"{name!r} is missing" for name in state if name not in state_dict]
        problems += [f"{name!r} is unknown" for name in state_dict if name not in state]
        arrays: list[tuple[Array, Array]] = []
        numbers: dict[str, int] = {}
        for name, there in state.items():
            if name not in state_dict:
                continue
            came = state_dict[name]
            if name in self._checks:
                numbers[name] = noted(of_scalar(self._checks[name]), name, came, problems)
                continue
            if not isinstance(there, np.ndarray) or not there.flags.writeable:
                problems.append(f"{name!r} of this layer is {describe(there)}; expected an array to write to")
                continue
            with listed(problems):
                arrays.append((there, of_array(there.dtype, there.shape)(repr(name), came).copy()))

        def restore() -> None:
            for there, array in arrays:
                there[...] = array
            for name, number in numbers.items():
                setattr(self, name, number)

        return restore

    def _repr_arguments(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._repr_arguments()})"
