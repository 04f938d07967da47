"""What drives an optimizer's steps has in common: `GradScaler` and `Accumulator`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ravine._arrays import describe
from ravine.optim.handoff import Handoff
from ravine.optim.optimizer import Optimizer

Result = TypeVar("Result")


class Alone:
    """Does things one at a time; calling it does one.

    Args:
        owner: whose they are, for messages.
        settle: called before each, to make up for what Ctrl-C has kept from being done.
    """

    def __init__(self, owner: str, settle: Callable[[], None]) -> None:
        self._owner, self._settle = owner, settle
        self._idle = {0: None}  # empty meanwhile

    def __call__(self, method: str, act: Callable[[], Result]) -> Result:
        """Do it, and return its result; raise where something else is being done."""
        try:
            del self._idle[0]
        except KeyError:
            raise RuntimeError(
                f"{self._owner}.{method}: it is in the middle of a step. Do not call {method}() from the optimizer's "
                "hooks, and use it in one thread at a time."
            ) from None
        # No signal comes between a `del`, which is no call, and the `try`.
        try:
            self._settle()
            return act()
        finally:
            self._idle[0] = None


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
