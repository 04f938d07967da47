"""The iterations of a step of LBFGS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ravine.optim._lbfgs.history import History
from ravine.optim._lbfgs.line_search import Point, strong_wolfe
from ravine.optim._lbfgs.memory import Memory
from ravine.optim._lbfgs.space import Space, dot

Array = np.ndarray[Any, Any]
# Returns the loss as it came, as a number, and the gradient, in memory other than the vectors it takes.
Evaluate = Callable[[Sequence[Array | None]], tuple[Any, float, Array]]


def iterate(space: Space, evaluate: Evaluate, hyper: dict[str, Any], memory: Memory) -> tuple[Any, Memory]:
    """Move the parameters; return the first loss and what to remember.

    Args:
        space: the parameters.
        evaluate: computes loss and gradient where the parameters are.
        hyper: the hyper-parameters of `LBFGS`.
        memory: what was remembered; it is left as it is.
    """
    lr, tolerance_change = hyper["lr"], hyper["tolerance_change"]
    before = (memory.d, memory.prev_flat_grad)
    d, t, previous, scale = memory.d, memory.t, memory.prev_flat_grad, memory.H_diag
    previous_loss = memory.prev_loss
    history = History(memory.pairs, space)

    result, loss, gradient = evaluate(before)
    n_iter, evals = memory.n_iter, 1
    if space.largest(gradient) <= hyper["tolerance_grad"]:
        return result, memory._replace(func_evals=memory.func_evals + 1)
    for iteration in range(1, hyper["max_iter"] + 1):
        n_iter += 1
        if d is None or previous is None:
            d = np.negative(gradient, out=space.take((*before, gradient)))
            t = min(1.0, _inverse(space.sum_of_sizes(gradient))) * lr
        else:
            scale = history.add(gradient, previous, d, t, hyper["history_size"], scale)
            d = history.direction(gradient, scale, space.take((*before, gradient)))
            t = lr
        previous, previous_loss = gradient, loss
        slope = dot(gradient, d)
        if slope > -tolerance_change:
            break
        longest = space.largest(d)
        space.gather(space.x)
        if hyper["line_search_fn"] is None or t == 0:
            space.move(t, d)
            if iteration == hyper["max_iter"]:  # nobody would look at the loss
                break
            _, loss, gradient = evaluate((*before, d, previous))
            evals += 1
        else:
            start = Point(0.0, loss, gradient, slope)
            line = Line(space, evaluate, d, before)
            end, more = strong_wolfe(line.at, start, t, longest, tolerance_change, hyper["max_eval"] - evals)
            t, loss, gradient = end.t, end.loss, end.gradient
            space.move(t, d)
            evals += more
        if (
            iteration == hyper["max_iter"]
            or evals >= hyper["max_eval"]
            or space.largest(gradient) <= hyper["tolerance_grad"]
            or abs(t) * longest <= tolerance_change
            or abs(loss - previous_loss) < tolerance_change
        ):
            break
    history.close(most=min(hyper["max_iter"], hyper["history_size"] + 1))
    return result, Memory(n_iter, memory.func_evals + evals, d, t, tuple(history.pairs), scale, previous, previous_loss)


class Line:
    """The line of a search.

    Args:
        space: the parameters, of which x is where the line begins.
        evaluate: the optimizer's.
        d: the line's direction.
        keep: vectors that must keep their memory.
    """

    def __init__(self, space: Space, evaluate: Evaluate, d: Array, keep: Sequence[Array | None]) -> None:
        self._space, self._evaluate, self._d, self._keep = space, evaluate, d, (*keep, d)

    def at(self, t: float, points: tuple[Point, ...]) -> Point:
        """Move the parameters to x + t d and return what it is like there."""
        self._space.move(t, self._d)
        _, loss, gradient = self._evaluate((*self._keep, *(point.gradient for point in points)))
        return Point(t, loss, gradient, dot(gradient, self._d))


def _inverse(value: float) -> float:
    return 1 / value if value else float("inf")
