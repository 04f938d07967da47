"""What drives an optimizer's steps: `GradScaler` and `Accumulator`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np

from ravine import _core
from ravine._arrays import describe, place
from ravine.optim.optimizer import Optimizer

Array = np.ndarray[Any, Any]
Result = TypeVar("Result")


class Driver:
    """Does things one at a time, as an optimizer does."""

    _owner: ClassVar[str]  # for messages

    def __init__(self) -> None:
        self._idle = {0: None}  # empty while something is done that must not be done twice at once

    def _held(self, name: str, act: Callable[[], Result]) -> Result:
        """Do something that must not be done in the middle of a step."""
        try:
            del self._idle[0]
        except KeyError:
            self._wait_or_refuse(name, "use it in one thread at a time")
        # No signal comes between a `del`, which is no call, and the `try`.
        try:
            self._finish()
            return act()
        finally:
            self._idle[0] = None

    def _wait_or_refuse(self, name: str, way_out: str) -> NoReturn:
        raise RuntimeError(
            f"{self._owner}.{name}: it is in the middle of a step. Do not call {name}() from the optimizer's hooks, "
            f"and {way_out}."
        ) from None

    def _finish(self) -> None:
        """Do what Ctrl-C has interrupted."""
        raise NotImplementedError

    def _saved(self) -> dict[str, Any]:
        """Return the state to save."""
        raise NotImplementedError

    def _loader(self, state_dict: Any, problems: list[str]) -> Callable[[], None]:
        """Check a saved state and list what does not fit; return what takes it over: see `_saved.py`."""
        raise NotImplementedError


def check_drivable(where: str, optimizer: Any) -> None:
    """Raise where something is no optimizer that steps with gradients it is given."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{where}: optimizer is {describe(optimizer)}; expected an optimizer of ravine.optim.")
    for stage in optimizer._stages:
        if stage._needs_closure:
            raise ValueError(
                f"{where}: {stage._owner} computes gradients at several places of each step, in its closure; expected "
                "an optimizer that steps with gradients it is given."
            )


def check_apart(where: str, optimizer: Optimizer, written: Sequence[tuple[str, Array]], change: str) -> None:
    """Raise where gradients that are changed in place, each with its name, share elements with one another.

    Or with what belongs to the optimizer: parameters, states, averages. `change` is what is done to them.
    """
    kept = [
        labelled
        for stage in optimizer._stages
        for record in stage._records
        for labelled in (
            (record.label, record.array),
            *((f"state {name!r} of {record.label}", state) for name, state in record.states.items()),
        )
    ]
    if optimizer._averages is not None:
        kept += [("an average", array) for array in optimizer._averages.arrays]
    # Stages have parameters and averages in common, which count once.
    named = [*written, *{place(array): (label, array) for label, array in kept}.values()]
    overlap = _core.find_overlap([array for _, array in named])
    if overlap is not None:
        first, second = (named[i][0] for i in overlap)
        raise ValueError(f"{where}: {first} and {second} share memory, and would be {change} together. Pass a copy.")
