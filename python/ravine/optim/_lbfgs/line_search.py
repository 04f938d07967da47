"""The line search of LBFGS: how far to go along a direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

# The two constants of Wolfe's conditions, as Nocedal & Wright have them for quasi-Newton methods.
SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9


class Point(NamedTuple):
    """A place on the line x + t d, and what the loss is like there."""

    t: float
    loss: float
    gradient: Array
    slope: float  # the gradient's component along d


# Takes t, and the points whose gradients must keep their memory.
Evaluate = Callable[[float, tuple[Point, ...]], Point]


def strong_wolfe(
    evaluate: Evaluate, start: Point, t: float, longest: float, tolerance_change: float, max_evals: int
) -> tuple[Point, int]:
    """Return a point of the strong Wolfe conditions, and how often the loss was evaluated for it.

        loss(t) <= loss(0) + 1e-4 t slope(0),    |slope(t)| <= 0.9 |slope(0)|

    Nocedal & Wright 2006, "Numerical optimization", algorithms 3.5 (which brackets such a point) and 3.6 (which zooms
    in on it), with the safeguards of minFunc that torch has.

    Args:
        evaluate: returns the point at t.
        start: the point at t = 0; its slope is below 0.
        t: the first to try, above 0.
        longest: the largest element of the direction, by absolute value.
        tolerance_change: a bracket that moves no parameter by this much is given up.
        max_evals: after how many evaluations, not counting the first, to take the best point there is.
    """

    def insufficient(point: Point) -> bool:
        return point.loss > start.loss + SUFFICIENT_DECREASE * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -CURVATURE * start.slope

    previous, new, evals = start, evaluate(t, (start,)), 1
    while True:
        if evals > max_evals:
            bracket = [start, new]
            break
        if insufficient(new) or (evals > 2 and new.loss >= previous.loss):
            bracket = [previous, new]
            break
        if flat(new):
            return new, evals
        if new.slope >= 0:
            bracket = [previous, new]
            break
        t = cubic_minimum(previous, new, (new.t + 0.01 * (new.t - previous.t), 10 * new.t))
        previous, new, evals = new, evaluate(t, (start, new)), evals + 1

    low = 0 if bracket[0].loss <= bracket[1].loss else 1
    stalled = False
    while evals <= max_evals:
        left, right = sorted(point.t for point in bracket)
        if (right - left) * longest < tolerance_change:
            break
        t = cubic_minimum(bracket[0], bracket[1], (left, right))
        margin = 0.1 * (right - left)
        near_an_end = min(right - t, t - left) < margin
        if near_an_end and (stalled or t >= right or t <= left):
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            stalled = False
        else:
            stalled = near_an_end
        new, evals = evaluate(t, (start, *bracket)), evals + 1
        high = 1 - low
        if insufficient(new) or new.loss >= bracket[low].loss:
            bracket[high] = new
            low = 0 if bracket[0].loss <= bracket[1].loss else 1
            continue
        if flat(new):
            return new, evals
        if new.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
    return bracket[low], evals


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Return where the cubic through two points, with their slopes, is least within bounds; the middle without such.

    Nocedal & Wright 2006, equation 3.59.
    """
    left, right = (a, b) if a.t <= b.t else (b, a)
    # Of NumPy's doubles, which divide by 0 as the processor does.
    width = np.float64(right.t - left.t)
    d1 = left.slope + right.slope - 3 * (right.loss - left.loss) / width
    square = d1 * d1 - left.slope * right.slope
    if not square >= 0:
        return (bounds[0] + bounds[1]) / 2
    d2 = np.sqrt(square)
    t = right.t - width * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2))
    return float(min(max(t, bounds[0]), bounds[1]))
