"""A schedule as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from ravine._hyper import MOST, Check, is_number, shown
from ravine.optim.lr_scheduler._target import KeyView, check_stages
from ravine.optim.optimizer import Optimizer


class Formula:
    """Learning rates as a function of the step, of arguments that it checks; asking for them changes nothing."""

    # The check of each of a subclass's arguments that is kept under its own name.
    _checks: ClassVar[dict[str, Check]] = {}
    # Its lists with one value for each group, besides base_lrs.
    _per_group: ClassVar[tuple[str, ...]] = ()

    optimizer: Optimizer
    base_lrs: list[float]

    # --- the function

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ...; nothing changes.

        t may be a fraction where the formula allows it. It is the learning rate as long as nobody else changes it.
        """
        raise NotImplementedError(
            f"{self._where}lr_at is not defined, so the schedule cannot look ahead; define lr_at(self, t)."
        )

    def momentum_at(self, t: float) -> list[float] | None:
        """Return the momentum (or first beta) of each group at step t, or None where the schedule leaves it alone."""
        return None

    def _cycles_momentum(self) -> bool:
        """Whether it moves the momentum at any step."""
        return False

    def _chainable_lr(
        self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None
    ) -> list[float]:
        """Return the learning rates at step t1 where somebody else made them `lrs`; torch calls it the chainable form.

        Args:
            lrs: what they are now.
            t0: the step that they are of; None if this schedule has not been applied to them.
            t1: the step to go to.
            metrics: for `ReduceLROnPlateau`.
        """
        return self.lr_at(t1)

    def _knows(self, t: float) -> bool:
        """Whether `lr_at(t)` can be known in advance."""
        return True

    def _takes_fractions(self) -> bool:
        """Whether there is something between two steps."""
        return True

    def _takes_fractions_at(self, t: float) -> bool:
        """Whether it can stand at a step t between two."""
        return self._takes_fractions()

    def _needs_metrics(self) -> bool:
        """Whether it has to be told how the training goes."""
        return False

    def _prepare(self) -> None:
        """Compute what is kept to save time; called whenever attributes have changed."""

    # --- its arguments

    @property
    def _where(self) -> str:
        return f"{type(self).__name__}: "

    def _attach(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer | KeyView):
            raise TypeError(
                f"{self._where}optimizer is a {type(optimizer).__name__}; expected a ravine.optim optimizer."
            )
        check_stages(self._where, optimizer)
        self.optimizer = optimizer

    def _configure(self, optimizer: Optimizer, **arguments: Any) -> None:
        """Check and keep what a subclass was given."""
        self._attach(optimizer)
        vars(self).update({name: self._checks[name](self._where + name, value) for name, value in arguments.items()})

    def _for_each_group(self, name: str, value: Any, check: Check) -> list[Any]:
        """Return an argument that may be a single value or a list with one for each group as such a list."""
        groups = len(self.optimizer.param_groups)
        if not isinstance(value, list | tuple):
            return [check(self._where + name, value)] * groups
        if len(value) != groups:
            raise ValueError(
                f"{self._where}{name} has {len(value)} values for {groups} parameter groups; give one for each, or a "
                "single one for all."
            )
        return [check(f"{self._where}{name}[{i}]", item) for i, item in enumerate(value)]

    def _check_together(self, where: str) -> None:
        """Raise where arguments, each right by itself, do not go together."""

    def _checked_epoch(self, epoch: float) -> float:
        return checked_step(self._where + "epoch", epoch)

    def _check_step(self, t: Any, whole: bool = False) -> None:
        """Raise where t is no step."""
        if checked_step(self._where + "t", t) != math.floor(t) and whole:
            raise ValueError(f"{self._where}t={t!r}; expected a whole number, 0 or more.")

    def _refuse_without_metrics(self, t: float) -> ValueError:
        return ValueError(
            f"{self._where}the learning rate at t={t!r} depends on the metrics until then; lr_at knows that of t=0."
        )


def checked_step(where: str, value: Any) -> float:
    """A step to stand at: a number, 0 or more."""
    if not is_number(value):
        raise TypeError(f"{where}={shown(value)} is a {type(value).__name__}; expected a number, 0 or more.")
    if not 0 <= value <= MOST:
        limit = ", up to 2^53" if value > MOST else ""
        raise ValueError(f"{where}={shown(value)}; expected a finite number, 0 or more{limit}.")
    return int(value) if value == int(value) else float(value)
