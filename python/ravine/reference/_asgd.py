"""ASGD."""

from __future__ import annotations

from ravine.reference._common import Array, State, descent, flush, next_step, state_array


def asgd(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> None:
    """Polyak & Juditsky 1992, with the schedules of Bottou 2012, in torch's form."""
    f = p.dtype.type
    t = next_step(state)
    g = descent(p, g, maximize, weight_decay)
    eta, mu = state.get("eta", lr), state.get("mu", 1.0)
    a = state_array(state, "ax", p)
    p[...] = p - f(lambd * eta) * p - f(eta) * g
    a[...] = f(1 - mu) * a + f(mu) * p
    state["eta"] = lr / (1 + lambd * lr * t) ** alpha
    state["mu"] = 1 / max(1.0, t - t0)
    flush(state)
