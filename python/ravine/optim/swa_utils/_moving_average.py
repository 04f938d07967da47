"""An average of the weights that steps renew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ravine._arrays import describe
from ravine._hyper import at_least, decay_rate, flag
from ravine.optim._averages import Averages
from ravine.optim.optimizer import Optimizer

Array = np.ndarray[Any, Any]


class ExponentialMovingAverage:
    """An average of an optimizer's parameters in which late steps weigh most, renewed in the pass of each step.

        a <- decay_n a + (1 - decay_n) p,    decay_n = decay, or min(decay, (1 + n) / (10 + n)) with warmup

    where n counts the updates; the first, n = 0, takes the parameters as they are, as torch's `AveragedModel` does. It
    costs 8 bytes a float32 parameter and step instead of the 12 of a pass of its own, and no call:

        ema = swa_utils.ExponentialMovingAverage(opt, decay=0.999)
        for ...:
            opt.step(grads)                  # renews the average too
        with ema.applied():                  # the parameters are the average
            accuracy = evaluate(params)

    It belongs to the optimizer from then on: `opt.state_dict()` holds it as "averages", a copy of the optimizer goes on
    with a copy of it (which `of` finds), and a step that is skipped leaves it as it is. A parameter without a gradient,
    or with one for some rows, is averaged with all its elements.

    Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging", for the idea; Tarvainen & Valpola
    2017, "Mean teachers are better role models", for this form.

    Args:
        optimizer: any but `LBFGS` and the schedule-free ones, which have an average of their own; of a `Handoff`, every
            stage renews it.
        decay: how much of the average stays at each update; from 0 up to, but not including, 1.
        warmup: whether less stays at the beginning.
        every: how many steps there are from one update to the next, 1 or more.

    Attributes:
        arrays: the averages, in the order of the parameters.
        decay, warmup, every: see above.

    Raises:
        TypeError, ValueError: an argument cannot be used, or the optimizer has an average already.
        RuntimeError: the optimizer is in the middle of a step.

    >>> from ravine import optim
    >>> w = np.zeros(2)
    >>> opt = optim.SGD([w], lr=1.0)
    >>> ema = ExponentialMovingAverage(opt, decay=0.5)
    >>> for _ in range(3):
    ...     opt.step([np.array([-1.0, -2.0])])
    >>> w, ema.arrays[0]
    (array([3., 6.]), array([2.25, 4.5 ]))
    """

    def __init__(self, optimizer: Optimizer, decay: float = 0.999, warmup: bool = False, every: int = 1) -> None:
        where = "ExponentialMovingAverage: "
        averages = Averages(
            "ExponentialMovingAverage",
            decay_rate(where + "decay", decay),
            flag(where + "warmup", warmup),
            at_least(1)(where + "every", every),
        )
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{where}optimizer is {describe(optimizer)}; expected an optimizer.")
        for each in (optimizer, *optimizer._stages):
            if each._averages is not None:
                raise ValueError(f"{where}this {each._owner} has an average already. Call its remove() first.")
        averages.cover(optimizer._records)
        self._optimizer, self._averages = optimizer, averages
        optimizer._alone("ExponentialMovingAverage", lambda: self._attaching(averages))

    @classmethod
    def of(cls, optimizer: Optimizer) -> ExponentialMovingAverage:
        """Return the average that an optimizer has, say a copied or loaded one.

        Raises:
            ValueError: it has none.
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"ExponentialMovingAverage.of: got {describe(optimizer)}; expected an optimizer.")
        averages = optimizer._averages
        if averages is None or not optimizer._saves_averages:
            whose = "has no average" if averages is None else "is a stage; the average is that of its Handoff"
            raise ValueError(f"ExponentialMovingAverage.of: this {optimizer._owner} {whose}.")
        found = cls.__new__(cls)
        found._optimizer, found._averages = optimizer, averages
        return found

    @property
    def arrays(self) -> list[Array]:
        """The averages, in the order of the parameters."""
        return list(self._averages.arrays)

    @property
    def decay(self) -> float:
        """How much of the average stays at each update."""
        return self._averages.decay or 0.0

    @property
    def warmup(self) -> bool:
        """Whether less stays at the beginning."""
        return self._averages.warmup

    @property
    def every(self) -> int:
        """How many steps there are from one update to the next."""
        return self._averages.every

    @property
    def updates(self) -> int:
        """How many updates there have been."""
        return self._averages.updates

    def remove(self) -> None:
        """Let the optimizer renew the average no more; nothing happens where it does not. The arrays stay as they are.

        Raises:
            RuntimeError: the optimizer is in the middle of a step, or the parameters are the average.
        """
        self._averages.check_not_applied("ExponentialMovingAverage.remove")
        if self._optimizer._averages is self._averages:
            self._optimizer._alone("ExponentialMovingAverage.remove", lambda: self._attaching(None))

    def _attaching(self, averages: Averages | None) -> Callable[[], None]:
        attach = self._optimizer._averager(averages)

        def attach_and_note() -> None:
            attach()
            self._optimizer._saves_averages = averages is not None

        return attach_and_note

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the parameters within a `with` block, and what they were back after it.

        Within, a step raises; `state_dict` saves as outside. It leaves when a step of another thread has ended.

        Raises:
            RuntimeError: the optimizer is in the middle of a step, the parameters are the average already, or the
                average has been removed.
        """
        block = object()
        try:
            self._optimizer._alone("applied", lambda: self._applying(block))
            yield
        finally:
            try:
                self._leave(block)
            except KeyboardInterrupt:
                self._leave(block)
                raise

    def restore(self) -> None:
        """Put back what the parameters were before `applied()`; nothing happens where they are.

        That is done on leaving the block; it is here for what an error has kept from it, such as a parameter that has
        been made read-only.
        """
        self._optimizer._between_steps(lambda: self._optimizer._go_through_with(self._restoring()))

    def _leave(self, block: object) -> None:
        if self._averages.applied_by is block:
            self.restore()

    def _applying(self, block: object) -> Callable[[], None]:
        self._averages.check_not_applied("ExponentialMovingAverage.applied")
        if self._optimizer._averages is not self._averages:
            raise RuntimeError("ExponentialMovingAverage.applied: this average has been removed from its optimizer.")
        arrays = self._parameters()
        self._averages.check(self._optimizer._records)
        before = [array.copy(order="K") for array in arrays]
        attach = self._optimizer._averager(self._averages)  # so that the next step looks whether it may be made

        def apply() -> None:
            attach()
            self._averages.applied_by = block
            self._averages.before = before
            for array, average in zip(arrays, self._averages.arrays, strict=True):
                array[...] = average

        return apply

    def _restoring(self) -> Callable[[], None]:
        before = self._averages.before
        arrays = [] if before is None else self._parameters()

        def restore() -> None:
            for array, value in zip(arrays, before or (), strict=True):
                array[...] = value
            self._averages.before = self._averages.applied_by = None

        return restore

    def _parameters(self) -> list[Array]:
        records = self._optimizer._records
        for record in records:
            record.check_data(self._averages.owner)
            record.pinned.check_unchanged()
            if not record.array.flags.writeable:
                raise ValueError(
                    f"{self._averages.owner}: {record.label} is read-only. Set arr.flags.writeable = True."
                )
        return [record.array for record in records]
