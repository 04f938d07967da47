"""L-BFGS: the two-loop recursion and a strong Wolfe line search, for one parameter of any shape."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ravine.reference._common import Array, State

Closure = Callable[[], tuple[float, Array]]
Point = tuple[float, float, Array, float]  # t, and loss, gradient and slope there

# Of sufficient decrease, and of curvature.
C1, C2 = 1e-4, 0.9


def lbfgs(
    p: Array,
    closure: Closure,
    state: State,
    *,
    lr: float = 1,
    max_iter: int = 20,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 100,
    line_search_fn: str | None = None,
) -> None:
    """Nocedal & Wright 2006, algorithm 7.5; `closure()` returns loss and gradient at `p`."""
    if max_eval is None:
        max_eval = max_iter * 5 // 4

    def loss_and_gradient() -> tuple[float, Array]:
        loss, gradient = closure()
        return float(loss), gradient.ravel().astype(p.dtype)

    loss, g = loss_and_gradient()
    evals = 1
    state["func_evals"] = state.get("func_evals", 0) + 1
    state.setdefault("n_iter", 0)
    if np.abs(g).max() <= tolerance_grad:
        return
    for iteration in range(1, max_iter + 1):
        state["n_iter"] += 1
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            d = -g
            t = min(1.0, 1 / float(np.abs(g).sum())) * lr
        else:
            _remember(state, g - state["prev_flat_grad"], state["d"] * p.dtype.type(state["t"]), history_size)
            d = -_inverse_hessian_times(g, state)
            t = lr
        state.update(d=d, t=t, prev_flat_grad=g.copy(), prev_loss=loss)
        slope = float(g @ d)
        if slope > -tolerance_change:
            break
        x = p.copy()

        def at(t: float, x: Array = x, d: Array = d) -> tuple[float, Array, float]:
            """Go to x + t d; return loss, gradient and slope there."""
            p[...] = x + p.dtype.type(t) * d.reshape(p.shape)
            loss, g = loss_and_gradient()
            return loss, g, float(g @ d)

        more = 0
        if line_search_fn is not None and t != 0:
            start = (loss, g, slope)
            t, loss, g, more = _strong_wolfe(at, start, t, float(np.abs(d).max()), tolerance_change, max_eval - evals)
            state["t"] = t
            p[...] = x + p.dtype.type(t) * d.reshape(p.shape)
        elif iteration < max_iter:
            loss, g, _ = at(t)
            more = 1
        else:
            p[...] = x + p.dtype.type(t) * d.reshape(p.shape)
        evals += more
        state["func_evals"] += more
        if iteration == max_iter or evals >= max_eval:
            break
        if np.abs(g).max() <= tolerance_grad:
            break
        if np.abs(d * t).max() <= tolerance_change or abs(loss - state["prev_loss"]) < tolerance_change:
            break


def _remember(state: State, y: Array, s: Array, history_size: int) -> None:
    """Keep the pair of a move, and the scale of equation 7.20, where the curvature along it is positive."""
    curvature = float(y @ s)
    if curvature > 1e-10:
        for name, value in (("old_dirs", y), ("old_stps", s), ("ro", 1 / curvature)):
            state[name] = [*state[name], value][-history_size:]
        state["H_diag"] = curvature / float(y @ y)


def _inverse_hessian_times(g: Array, state: State) -> Array:
    """The two-loop recursion, Nocedal & Wright 2006, algorithm 7.4."""
    f = g.dtype.type
    pairs = list(zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True))
    q = g.copy()
    alphas = []
    for y, s, rho in reversed(pairs):
        alpha = rho * float(s @ q)
        q -= f(alpha) * y
        alphas.append(alpha)
    r = f(state["H_diag"]) * q
    for (y, s, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        beta = rho * float(y @ r)
        r += f(alpha - beta) * s
    return np.asarray(r)


def _strong_wolfe(
    at: Callable[[float], tuple[float, Array, float]],
    start: tuple[float, Array, float],
    t: float,
    longest: float,
    tolerance_change: float,
    max_ls: int,
) -> tuple[float, float, Array, int]:
    """Nocedal & Wright 2006, algorithms 3.5 and 3.6, with torch's limits; return t, loss, gradient, evaluations."""
    ends, i = _bracket(at, start, t, max_ls)
    if len(ends) == 2:
        ends, i = _zoom(at, start, ends, i, longest, tolerance_change, max_ls)
    return (*ends[0][:3], i + 1)


def _bracket(
    at: Callable[[float], tuple[float, Array, float]], start: tuple[float, Array, float], t: float, max_ls: int
) -> tuple[list[Point], int]:
    """Algorithm 3.5: go on until there is a bracket, or a point of both conditions."""
    loss0, _, slope0 = start
    before = (0.0, *start)
    new = (t, *at(t))
    for i in range(max_ls):
        t, loss, _, slope = new
        if loss > loss0 + C1 * t * slope0 or (i > 1 and loss >= before[1]):
            return [before, new], i
        if abs(slope) <= -C2 * slope0:
            return [new], i
        if slope >= 0:
            return [before, new], i
        t = _cubic_minimum(before, new, t + 0.01 * (t - before[0]), 10 * t)
        before, new = new, (t, *at(t))
    return [(0.0, *start), new], max_ls


def _zoom(
    at: Callable[[float], tuple[float, Array, float]],
    start: tuple[float, Array, float],
    ends: list[Point],
    i: int,
    longest: float,
    tolerance_change: float,
    max_ls: int,
) -> tuple[list[Point], int]:
    """Algorithm 3.6: make the bracket smaller."""
    loss0, _, slope0 = start
    low = 0 if ends[0][1] <= ends[1][1] else 1
    slow = False
    while i < max_ls:
        a, b = min(ends[0][0], ends[1][0]), max(ends[0][0], ends[1][0])
        if (b - a) * longest < tolerance_change:
            break
        t = _cubic_minimum(ends[0], ends[1], a, b)
        margin = 0.1 * (b - a)
        near = min(b - t, t - a) < margin
        if near and (slow or t >= b or t <= a):
            t = b - margin if abs(t - b) < abs(t - a) else a + margin
            slow = False
        else:
            slow = near
        new = (t, *at(t))
        i += 1
        t, loss, _, slope = new
        if loss > loss0 + C1 * t * slope0 or loss >= ends[low][1]:
            ends[1 - low] = new
            low = 0 if ends[0][1] <= ends[1][1] else 1
            continue
        if abs(slope) <= -C2 * slope0:
            return [new], i
        if slope * (ends[1 - low][0] - ends[low][0]) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = new
    return [ends[low]], i


def _cubic_minimum(one: Point, other: Point, least: float, greatest: float) -> float:
    """Nocedal & Wright 2006, equation 3.59."""
    (t1, f1, _, g1), (t2, f2, _, g2) = (one, other) if one[0] <= other[0] else (other, one)
    d1 = g1 + g2 - 3 * (f1 - f2) / (t1 - t2)
    square = d1 * d1 - g1 * g2
    if not square >= 0:
        return (least + greatest) / 2
    d2 = math.sqrt(square)
    t = t2 - (t2 - t1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    return float(min(max(t, least), greatest))
