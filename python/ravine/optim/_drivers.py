"""What drives an optimizer's steps: `GradScaler` and `Accumulator`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, TypeVar

from ravine._arrays import describe
from ravine.optim.handoff import Handoff
from ravine.optim.optimizer import Optimizer

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
    for stage in optimizer.optimizers if isinstance(optimizer, Handoff) else [optimizer]:
        if stage._needs_closure:
            raise ValueError(
                f"{where}: {stage._owner} computes gradients at several places of each step, in its closure; expected "
                "an optimizer that steps with gradients it is given."
            )
