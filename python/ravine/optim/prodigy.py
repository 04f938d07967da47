"""Prodigy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import decay_rate, flag, non_negative, none_or, pair_of_betas, positive
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class Prodigy(RuleOptimizer):
    """AdamW that finds its learning rate by itself: Prodigy, as in optax.

        a = lr sqrt(1 - beta2^t) / (1 - beta1^t);   w = a d^2 / d0
        m <- beta1 m + (1 - beta1) d g;   v <- beta2 v + (1 - beta2) (d g)^2
        s <- beta3 s + w g;   n <- beta3 n + w <g, p0 - p>         safeguard_warmup: s <- beta3 s + d^2 / d0 g
        e = max(d, d_coef n / |s|_1)
        p <- p - a d (m / (sqrt(v) + e eps) + weight_decay p);   d <- e

    p0 is the parameter at its first step, d estimates its distance from the solution and starts at d0. The sums
    <g, p0 - p> and |s|_1 go over all parameters of a group, which have one d: `optimizer.state[p]["d"]`.

    Mishchenko & Defazio 2024, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", algorithm 4.

    Args:
        params: see `Optimizer`.
        lr: factor of the learning rate that was found; leave it at 1, or let a schedule take it from 1 to 0.
        betas: decay rates of the running means of d g and (d g)^2.
        beta3: decay rate of the sums; None: sqrt(beta2).
        eps: added to the root, in units of d.
        weight_decay: how fast parameters shrink, in units of the learning rate found.
        safeguard_warmup: leave lr out of the denominator of the estimate, for schedules with a warm-up.
        d0: first estimate, smaller than the distance to the solution.
        d_coef: factor of the estimate; 0.5 and 2 are tame changes.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "d" and "d_numerator" (n, numbers), "exp_avg" (m), "exp_avg_sq" (v), "s", "p0".
    """

    _checks = {
        "lr": non_negative,
        "betas": pair_of_betas,
        "beta3": none_or(decay_rate, -1.0),
        "eps": non_negative,
        "weight_decay": non_negative,
        "safeguard_warmup": flag,
        "d0": positive,
        "d_coef": positive,
        "maximize": flag,
    }
    _rules = ("prodigy",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        beta3: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        safeguard_warmup: bool = False,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "beta3": beta3,
                "eps": eps,
                "weight_decay": weight_decay,
                "safeguard_warmup": safeguard_warmup,
                "d0": d0,
                "d_coef": d_coef,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("prodigy")
