"""L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ravine._arrays import as_array, as_scalar, describe
from ravine._hyper import as_float, at_least, is_number, non_negative, one_of
from ravine.optim._grouped_optimizer import GroupedOptimizer
from ravine.optim._lbfgs.iteration import iterate
from ravine.optim._lbfgs.memory import Memory, read_memory
from ravine.optim._lbfgs.space import Space
from ravine.optim._modifiers import no_modifiers
from ravine.optim._parameters import Record
from ravine.optim._step_options import LastStep, StepOptions

Array = np.ndarray[Any, Any]


class _NotFiniteError(ArithmeticError):
    """A step cannot be made. `names` are the parameters whose gradients are to blame."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)


def _refuse_options(options: StepOptions) -> None:
    """Raise where a step is asked for what changes the gradients."""
    plain = StepOptions(skip_nonfinite=options.skip_nonfinite, zero_grad=options.zero_grad)
    if options != plain:
        raise ValueError(
            "LBFGS.step: it compares gradients and losses of several places, so they must fit one another; only "
            "skip_nonfinite and zero_grad can be asked for. Unscale both, or clip, in the closure."
        )


class LBFGS(GroupedOptimizer):
    """Limited-memory BFGS, a quasi-Newton method for losses without noise: `torch.optim.LBFGS`.

        d  = -H g        H from the last pairs s = t d, y = g - g' by the two-loop recursion, at first (y s / y y) 1
        p <- p + t d     t = lr, at the very first min(1, 1 / |g|_1) lr; "strong_wolfe" searches the line from there

    A step makes up to `max_iter` such iterations, and calls its closure at each:

        def closure():
            optimizer.zero_grad()
            loss = ...                      # compute the loss, and the gradients into each Parameter.grad
            return loss                     # for plain arrays: return loss, grads
        optimizer.step(closure)

    All parameters are one vector, in their dtype; in float64 where some are float32 and others float64. A step
    that an exception ends, in the closure or by Ctrl-C, leaves parameters and state as they were before it.

    Nocedal & Wright 2006, "Numerical optimization", algorithms 7.4 and 7.5, line search 3.5 and 3.6; Liu & Nocedal
    1989, "On the limited memory BFGS method for large scale optimization".

    Args:
        params: see `Optimizer`; one group.
        lr: how far to go along each direction, or at first in the line search. 1 is natural to the method.
        max_iter: iterations a step, 1 or more.
        max_eval: after how many evaluations in a step to end it, 1 or more; max_iter * 5 // 4 without it.
        tolerance_grad: ends the step when no element of the gradient is larger.
        tolerance_change: ends the step when no parameter, or not the loss, changes more.
        history_size: how many pairs s, y are kept, 1 or more.
        line_search_fn: None, or "strong_wolfe", which finds a t of sufficient decrease and small slope.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it. Or there is more
            than one group.

    State, under the first parameter: "n_iter", "func_evals", "t", "H_diag" and "prev_loss" (numbers); "d" and
    "prev_flat_grad" of shape (n,), n being the number of all elements, in the order of the parameters and C order
    within each; "old_dirs" (y) and "old_stps" (s) of shape (k, n), "ro" (1 / y s) of shape (k,) in float64, the oldest
    first.

    >>> import numpy as np
    >>> x = np.array([-1.2, 1.0])
    >>> def rosenbrock():
    ...     a, b = x
    ...     gradient = np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])
    ...     return (1 - a) ** 2 + 100 * (b - a * a) ** 2, [gradient]
    >>> optimizer = LBFGS([x], max_iter=100, line_search_fn="strong_wolfe")
    >>> first_loss = optimizer.step(rosenbrock)
    >>> bool(np.allclose(x, 1, atol=1e-3))
    True
    """

    _checks = {
        "lr": non_negative,
        "max_iter": at_least(1),
        "max_eval": at_least(1),
        "tolerance_grad": non_negative,
        "tolerance_change": non_negative,
        "history_size": at_least(1),
        "line_search_fn": one_of(None, "strong_wolfe"),
    }
    _way_of_gradients = "Return (loss, grads) from the closure"
    _needs_closure = True
    _modifiers = no_modifiers("its step is a search along a line")
    _kept = (*GroupedOptimizer._kept, "_memory")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        self._memory = Memory()
        max_iter = self._checks["max_iter"]("LBFGS: max_iter", max_iter)
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    def _make_transient(self) -> None:
        super()._make_transient()
        self._space: Space | None = None

    def _group_adder(self, param_group: Mapping[str, Any]) -> Callable[[], None]:
        if self.param_groups:
            raise ValueError(
                "LBFGS: there can be only one parameter group, since all parameters move along one direction. Pass "
                "them all in one group, or make an optimizer of its own for the others."
            )
        return super()._group_adder(param_group)

    # --- steps

    def step(
        self,
        grads: Iterable[Any] | Mapping[str, Any] | Callable[[], Any] | None = None,
        closure: Callable[[], Any] | None = None,
        **options: Any,
    ) -> Any:
        """Make up to `max_iter` iterations: `step(closure)`, or `step(closure=closure)`.

        Args:
            grads: the closure, as in torch; not gradients, which are needed at several places.
            closure: computes loss and gradients at the parameters as they are, each time it is called. It returns the
                loss, a number, having put the gradients into each `Parameter.grad`; or `(loss, grads)`, with grads in
                the forms of `Optimizer.step`. None counts as zeros. A gradient has its parameter's shape and dtype.
            options: `skip_nonfinite` makes no step where the loss or a gradient at the parameters as they are, or what
                the parameters would become, is not finite; `zero_grad` sets each `Parameter.grad` to zero after the
                step. Others of `Optimizer.step` are refused.

        Returns:
            The first loss, that of the parameters before the step.

        Raises:
            TypeError, ValueError: there is no closure, or what it computes or a hyper-parameter cannot be used.
                Parameters and state are as they were.
            RuntimeError: this optimizer is in the middle of a step.
        """
        return super().step(grads, closure, **options)

    def _step(
        self, grads: Any = None, closure: Callable[[], Any] | None = None, options: StepOptions | None = None
    ) -> Any:
        if callable(grads):
            grads, closure = None, grads
        if closure is None or grads is not None:
            raise TypeError(
                "LBFGS.step: grads" + (" is missing" if grads is None else f" is {describe(grads)}") + "; expected a "
                "closure, since loss and gradients are needed at several places. Call step(closure) with a function "
                "that computes them and returns the loss, or (loss, grads)."
            )
        options = StepOptions() if options is None else options
        _refuse_options(options)
        (hyper,) = self._checked_groups()
        space = self._space = self._space or Space(self._owner, self._records)
        space.check_arrays()
        self._parameters.check_data()
        space.gather(space.before)
        try:
            outside = np.geterr()
            with np.errstate(all="ignore"):  # as in the kernels, numbers that are not finite just go on
                losses: list[Any] = []  # as the closure has returned them

                def evaluate(keep: Sequence[Array | None]) -> tuple[Any, float, Array]:
                    with np.errstate(**outside):
                        loss, value, gradient = self._evaluate(space, closure, keep)
                    losses.append(loss)
                    if options.skip_nonfinite and len(losses) == 1:
                        bad = space.nonfinite(gradient)
                        if bad or not math.isfinite(value):
                            raise _NotFiniteError(bad)
                    return loss, value, gradient

                try:
                    result, memory = iterate(space, evaluate, hyper, self._memory)
                    if options.skip_nonfinite:
                        space.gather(space.x)
                        if space.nonfinite(space.x):
                            raise _NotFiniteError([])
                    memory = memory._replace(steps=self._memory.steps + 1, skipped=0, nonfinite=())
                except _NotFiniteError as found:
                    space.put_back()
                    result = losses[0]
                    memory = self._memory._replace(skipped=self._memory.skipped + 1, nonfinite=found.names)
            zeroing = [record.zeroing(self._owner, False) for record in self._records] if options.zero_grad else []
            self._memory = memory
        except BaseException:
            space.put_back()
            raise
        for zero in zeroing:
            zero()
        return result

    @property
    def last_step(self) -> LastStep | None:
        """What came of the last step; None where there has been none since this object was made or loaded."""
        skipped, names = self._memory.skipped, self._memory.nonfinite
        if skipped == 0 and self._memory.steps == 0:
            return None
        return LastStep(applied=skipped == 0, skipped=skipped, nonfinite=names)

    def _evaluate(
        self, space: Space, closure: Callable[[], Any], keep: Sequence[Array | None]
    ) -> tuple[Any, float, Array]:
        """Return what the closure has for a loss, that as a number, and the gradient in memory other than `keep`."""
        result = closure()
        given, grads = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        try:
            loss = as_scalar(given)
        except (TypeError, ValueError, RuntimeError):  # an array of several numbers
            loss = None
        if not is_number(loss):
            came = repr(given) if as_array(given) is None else describe(as_array(given))
            raise TypeError(
                f"{self._owner}.step: the closure returned {came} for a loss; expected a number. Return the loss, or "
                "(loss, grads), from the closure."
            )
        gradients = self._parameters.gradients(grads)
        space.check_arrays()  # the closure may have done anything
        gradient = space.take(keep)
        space.gather_gradients(gradients, gradient)
        return given, as_float("loss", loss), gradient

    @property
    def has_stepped(self) -> bool:
        """Whether `step` has been called, or a state loaded; schedules warn where it has not."""
        return self._memory.func_evals + self._memory.skipped > 0

    @property
    def _made(self) -> int:
        return self._memory.steps

    def _freezer(self, positions: Collection[int], is_frozen: bool) -> Callable[[], None]:
        raise ValueError(
            "LBFGS: it can freeze no parameter, since all move along one direction, which follows from gradients of "
            "all at earlier steps. Make a new LBFGS of those that are to move."
        )

    # --- state

    def _state_of(self, record: Record) -> dict[str, Any]:
        return self._memory.as_dict() if record is self._records[0] else {}

    def _checked_state(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        groups = self._read_groups(state_dict, problems)
        memory = Memory()
        if not problems:
            space = Space(self._owner, self._records)
            memory = read_memory(self._owner, state_dict["state"], groups[0]["params"], space, problems)

        def take_over() -> None:
            self._take_groups(groups)
            self._memory = memory

        return take_over
