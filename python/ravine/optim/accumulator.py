"""Steps with the gradients of several micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ravine import _core
from ravine._hyper import at_least, flag, whole
from ravine._saved import checked, is_list, listed, noted, of_array
from ravine._sparse import SparseGrad, as_gradient, misfit
from ravine.optim._constant_plan import constant_plan
from ravine.optim._drivers import Driver, check_apart, check_drivable
from ravine.optim._parameters import Parameters, Record
from ravine.optim._state import new_like
from ravine.optim._step_options import StepOptions, checked_scale, read_options
from ravine.optim.optimizer import Optimizer

Array = np.ndarray[Any, Any]
Sparse = dict[int, SparseGrad]  # by the position of the parameter

_PLACE = 6  # behind a parameter, its states and its average: see new_like

# What a step at the end of a window can be asked for.
_OF_THE_STEP = ("max_norm", "norm_type", "max_value", "skip_nonfinite", "total_norm")


class Accumulator(Driver):
    """One step of an optimizer for several micro-batches, with the sum or the mean of their gradients.

        s <- s + g / grad_scale                    for each micro-batch
        optimizer.step(s / n);   s <- 0            after n = every of them; of s where average=False

    Each micro-batch is added in one compiled pass, in place; the mean and the zeroing are part of the optimizer's own.

        acc = optim.Accumulator(opt, every=4)
        for batch in batches:
            if acc.step(gradients_of(batch)):      # True after each 4th, when the optimizer has made a step
                sched.step()
        acc.flush()                                # what is left

    Schedules, averages and hooks belong to the optimizer, and so count its steps, not micro-batches.

    A parameter that had no gradient in any of the micro-batches has none in the step: its state does not move. A
    `SparseGrad` is kept as one, by naming the rows of all micro-batches.

    An error, or Ctrl-C, leaves each micro-batch added or not (`pending` tells), never half or twice. Where it ends the
    optimizer's step, the sums are as they were: `flush()` tries again, `reset()` drops them.

    Args:
        optimizer: any but `LBFGS`.
        every: how many micro-batches there are to a step, 1 or more.
        average: whether the step is with their mean; otherwise with their sum.

    Attributes:
        optimizer, every, average: see above.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    >>> from ravine import optim
    >>> w = np.zeros(2)
    >>> acc = Accumulator(optim.SGD([w], lr=1.0), every=2)
    >>> acc.step([np.array([1.0, 2.0])]), acc.step([np.array([3.0, 2.0])])
    (False, True)
    >>> w
    array([-2., -2.])
    """

    _owner = "Accumulator"

    def __init__(self, optimizer: Optimizer, every: int, average: bool = True) -> None:
        super().__init__()
        check_drivable("Accumulator", optimizer)
        self.optimizer = optimizer
        self.every: int = at_least(1)("Accumulator: every", every)
        self.average: bool = flag("Accumulator: average", average)
        self._window = _Window(optimizer._records)

    @property
    def pending(self) -> int:
        """How many micro-batches wait for a step."""
        window = self._window
        return 0 if self._is_spent(window) else window.count

    # --- steps

    def step(
        self,
        grads: Iterable[Any] | Mapping[str, Any] | None = None,
        *,
        grad_scale: float | None = None,
        zero_grad: bool = False,
        **options: Any,
    ) -> bool:
        """Add the gradients of a micro-batch, and make the optimizer's step where it was the last one of `every`.

        Args:
            grads: in the forms of `Optimizer.step`. A parameter's are all arrays, or all `SparseGrad`s, until the step.
            grad_scale: what the loss of this micro-batch was multiplied by, as in `Optimizer.step`.
            zero_grad: set the gradients that were given to zero, in the pass that adds them. Not `SparseGrad`s.
            options: `max_norm`, `norm_type`, `max_value`, `skip_nonfinite` and `total_norm` of `Optimizer.step`. They
                are checked each time, and those of the last micro-batch count: give all the same.

        Returns:
            Whether the optimizer has made a step: False where it waits for more, or has skipped the step.

        Raises:
            TypeError, ValueError: an argument or a gradient cannot be used, and nothing has changed; or the optimizer
                cannot step, and the micro-batch is pending with the others.
            RuntimeError: `every` micro-batches are pending, since their step has failed or been interrupted: call
                `flush()` or `reset()`. Or it is in the middle of a step.
        """
        adding = read_options("Accumulator", grad_scale=grad_scale, zero_grad=zero_grad)
        scale = 1.0 if grad_scale is None else checked_scale("Accumulator.step: grad_scale", grad_scale)
        _check_options("step", options)
        return self._held("step", lambda: self._step(grads, scale, adding, bool(zero_grad), options))

    def _step(self, grads: Any, scale: float, adding: StepOptions, zero: bool, options: dict[str, Any]) -> bool:
        window = self._grown()
        if window.count >= self.every:
            raise RuntimeError(
                f"Accumulator.step: {window.count} micro-batches are pending, whose step has not been made. Call "
                "flush() to make it, or reset() to drop them."
            )
        window.add(grads, scale, adding, self.optimizer if zero else None)
        return window.count >= self.every and self._make_step(options)

    def flush(self, **options: Any) -> bool:
        """Make the step with the micro-batches that are pending, however many; the mean is over so many.

        Args:
            options: as in `step`.

        Returns:
            Whether the optimizer has made a step; False where nothing is pending, or it has skipped the step.

        Raises:
            TypeError, ValueError: an option cannot be used, or the optimizer cannot step; nothing has changed.
            RuntimeError: it is in the middle of a step.
        """
        _check_options("flush", options)
        return self._held("flush", lambda: self._grown().count > 0 and self._make_step(options))

    def _make_step(self, options: dict[str, Any]) -> bool:
        window, optimizer = self._window, self.optimizer
        before = optimizer._progress
        try:
            window.step_before = before
            optimizer.step(
                window.gradients(), grad_scale=float(window.count) if self.average else None, zero_grad=True, **options
            )
        finally:
            self._finish()
        return optimizer._progress[0] != before[0]

    # The optimizer's step sets the sums to zero in the call that counts it. What follows here follows from its count.
    def _is_spent(self, window: _Window) -> bool:
        return window.step_before is not None and self.optimizer._progress != window.step_before

    def _finish(self) -> None:
        window = self._window
        if self._is_spent(window):
            if any(each._pre_step for each in (self.optimizer, *self.optimizer._stages)):
                for total in window.sums:  # a hook may have given other arrays, which have been set to zero instead
                    total.fill(0)
            window.counts[...] = 0
        window.step_before = None

    def _grown(self) -> _Window:
        """Return the window, with sums for parameters that have been added to the optimizer."""
        records = self.optimizer._records
        if len(records) != len(self._window.sums):
            self._window = _Window(records, self._window)
        return self._window

    def reset(self) -> None:
        """Drop the micro-batches that are pending.

        Raises:
            RuntimeError: it is in the middle of a step.
        """

        def drop() -> None:
            self._window = _Window(self.optimizer._records)

        self._held("reset", drop)

    @property
    def _progress(self) -> tuple[int, int]:
        return self.optimizer._progress

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """Return the micro-batches that are pending, as copies; the optimizer has a state_dict of its own.

        Returns:
            "pending": how many; "sums": for each parameter an array, a dict of the "rows" and "values" of a
            `SparseGrad`, or None where it had no gradient. Not `every` and `average`, which the constructor is given.

        Raises:
            RuntimeError: it is in the middle of a step.
        """
        return self._held("state_dict", self._saved)

    def _saved(self) -> dict[str, Any]:
        return self._grown().saved()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the pending micro-batches of a saved Accumulator of the same parameters.

        Raises:
            ValueError: they do not fit. The message lists every mismatch, and this one is as it was.
            RuntimeError: it is in the middle of a step.
        """
        self._held("load_state_dict", checked("Accumulator", "accumulator", self._loader, state_dict))

    def _loader(self, state_dict: Any, problems: list[str]) -> Callable[[], None]:
        window = _Window(self.optimizer._records)
        window.read(state_dict, self.every, problems)

        def take_over() -> None:
            self._window = window

        return take_over

    def __getstate__(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer,
            "every": self.every,
            "average": self.average,
            "state": self.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved = state.pop("state")
        self.__init__(**state)  # type: ignore[misc]
        self._loader(saved, [])()


class _Window:
    """The sums of the micro-batches since the last step, and the plan that adds to them.

    Args:
        records: the parameters.
        earlier: sums of the first of them, to go on with.
    """

    def __init__(self, records: Sequence[Record], earlier: _Window | None = None) -> None:
        self.step_before: tuple[int, int] | None = None  # the optimizer's progress before a step that takes the sums
        self._parameters = Parameters("Accumulator", "Call step(grads)", records)
        # Of micro-batches, and of the arrays that were added for each parameter. The compiled part advances them in the
        # call that adds; they are set to zero at once.
        self.counts: Array = np.zeros(1 + len(records), np.int64)
        self.sums: list[Array] = [] if earlier is None else list(earlier.sums)
        if earlier is not None:
            self.counts[: len(earlier.counts)] = earlier.counts
        for record in records[len(self.sums) :]:
            self.sums.append(new_like(record.array, 0.0, _PLACE, record.array.shape))
        # The sparse sums at some count, and those at a greater one.
        self._sparse: tuple[int, Sparse, Sparse] = (0, {}, {}) if earlier is None else earlier._sparse
        self._plan = self._new_plan()

    def _new_plan(self) -> _core.Plan:
        pinned = [
            _core.Pinned(array, "Accumulator", record.label)
            for array, record in zip(self.sums, self._parameters.records, strict=True)
        ]
        given = [(array, 0, self.counts[i : i + 1]) for i, array in enumerate(pinned, 1)]
        # s - (-1) g is s + g, bit for bit.
        return constant_plan("Accumulator", given, self.counts[:1], "sgd", [{"lr": -1.0}])

    @property
    def count(self) -> int:
        """How many micro-batches have been added."""
        return int(self.counts[0])

    @property
    def sparse(self) -> Sparse:
        """The sparse sums; they follow from the count, which the compiled part advances."""
        count, before, after = self._sparse
        return {} if self.count == 0 else after if self.count > count else before

    def add(self, grads: Any, scale: float, options: StepOptions, zeroed_for: Optimizer | None) -> None:
        """Add a micro-batch, in the forms of `Optimizer.step`, or raise with nothing changed.

        Where gradients are to be set to zero, nothing of the optimizer `zeroed_for` may lie under them.
        """
        gradients = list(self._parameters.gradients(grads))
        sparse = self.sparse
        after = dict(sparse)
        for i, (record, gradient) in enumerate(zip(self._parameters.records, gradients, strict=False)):
            if gradient is None:
                continue
            given = gradients[i] = (
                gradient
                if isinstance(gradient, np.ndarray)
                else as_gradient(gradient, f"Accumulator: {record.label}", zeroed_for is not None)
            )
            is_sparse = isinstance(given, SparseGrad)
            if self.counts[1 + i] > 0 if is_sparse else i in sparse:
                raise ValueError(
                    f"Accumulator: {record.label}: its gradient is {'sparse' if is_sparse else 'an array'}, and those "
                    "of the micro-batches before it are not; expected the same until the step. Pass grad.to_dense() "
                    "each time."
                )
            if isinstance(given, SparseGrad):
                if zeroed_for is not None:
                    raise ValueError(
                        f"Accumulator: {record.label}: its gradient is sparse and cannot be set to zero as it is "
                        "added. Leave zero_grad out, and call the optimizer's zero_grad()."
                    )
                added = _divided(given, record, scale)
                after[i] = sparse[i] + added if i in sparse else added
                gradients[i] = None
        if zeroed_for is not None:
            pairs = zip(self._parameters.records, gradients, strict=False)
            written = [(f"the gradient of {record.label}", array) for record, array in pairs if array is not None]
            check_apart("Accumulator.step: zero_grad", zeroed_for, written, "set to zero")
        self._sparse = self.count, sparse, after
        self._plan.step_as_set(gradients, options)

    def gradients(self) -> list[Any]:
        """Return the sum of each parameter's gradients, None where it had none."""
        sparse, counts = self.sparse, self.counts[1:].tolist()
        return [sparse.get(i, array if counts[i] > 0 else None) for i, array in enumerate(self.sums)]

    # --- saving

    def saved(self) -> dict[str, Any]:
        """Return copies of the sums: see `Accumulator.state_dict`."""
        return {"pending": self.count, "sums": [_saved_sum(gradient) for gradient in self.gradients()]}

    def read(self, state: Any, most: int, problems: list[str]) -> None:
        """Take copies of saved sums, of `most` micro-batches or fewer, into this new window; list what does not fit."""
        if not isinstance(state, Mapping) or not {"pending", "sums"} <= state.keys():
            problems.append("it is not a dict with 'pending' and 'sums'")
            return
        problems += [f"unknown {key!r}" for key in state if key not in ("pending", "sums")]
        count = noted(whole, "'pending'", state["pending"], problems)
        if count > most:
            problems.append(f"'pending' is {count}; expected {most} or fewer, as every={most}")
        records, sums = self._parameters.records, state["sums"]
        if not is_list(sums) or len(sums) != len(records):
            problems.append(f"'sums' is not a list of {len(records)} sums")
            return
        if count == 0 and any(value is not None for value in sums):
            problems.append("it has sums of 0 micro-batches")
        sparse: Sparse = {}
        for i, (record, value) in enumerate(zip(records, sums, strict=True)):
            where = f"that of {record.label}"
            if value is None:
                continue
            if isinstance(value, Mapping):
                with listed(problems):
                    sparse[i] = _read_sparse(where, value, record.array)
                continue
            with listed(problems):
                self.sums[i][...] = of_array(record.array.dtype, record.array.shape)(where, value)
                self.counts[1 + i] = 1
        if not problems:
            self.counts[0] = count
            self._sparse = 0, {}, sparse


def _check_options(method: str, options: dict[str, Any]) -> None:
    unknown = [name for name in options if name not in _OF_THE_STEP]
    if unknown:
        raise TypeError(f"Accumulator.{method}: unknown keyword {unknown[0]!r}; expected {', '.join(_OF_THE_STEP)}.")
    read_options("Accumulator", method, **options)


def _divided(grad: SparseGrad, record: Record, scale: float) -> SparseGrad:
    """Return a copy of a parameter's gradient, divided as the compiled part does it."""
    if grad.shape != record.array.shape or grad.dtype != record.array.dtype:
        raise ValueError(f"Accumulator: {record.label}: its gradient is {misfit(grad, record.array)}")
    rows, values = grad._still()
    with np.errstate(all="ignore"):  # as in the kernels, numbers that are not finite just go on
        return SparseGrad(rows.copy(), values * values.dtype.type(1 / scale), grad.shape)


def _saved_sum(gradient: Any) -> Any:
    if isinstance(gradient, SparseGrad):
        return {"rows": gradient.rows.copy(), "values": gradient.values.copy()}
    return None if gradient is None else gradient.copy(order="K")


def _read_sparse(where: str, saved: Mapping[str, Any], array: Array) -> SparseGrad:
    if saved.keys() != {"rows", "values"}:
        raise ValueError(f"{where} has the keys {', '.join(map(str, saved))}; expected rows, values")
    grad = SparseGrad(np.array(saved["rows"]), np.array(saved["values"]), array.shape)
    if grad.dtype != array.dtype:
        raise ValueError(f"{where} is {misfit(grad, array)}")
    return grad
