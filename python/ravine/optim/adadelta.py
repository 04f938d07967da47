"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, unit
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class Adadelta(RuleOptimizer):
    """Steps of the size of earlier steps, from two running mean squares: `torch.optim.Adadelta`.

        v <- rho v + (1 - rho) g^2
        d  = sqrt(u + eps) / sqrt(v + eps) g
        u <- rho u + (1 - rho) d^2;   p <- p - lr d

    Zeiler 2012, "ADADELTA: An Adaptive Learning Rate Method", algorithm 1.

    Args:
        params: see `Optimizer`.
        lr: scales the step; the rule finds its size by itself.
        rho: how much of the mean squares stays.
        eps: added under both roots; it decides how large the first steps are.
        weight_decay: L2 penalty, added to the gradient as weight_decay p.
        maximize: climb instead of descend.
        foreach: accepted for torch's sake and without effect: every step is fused.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "square_avg" (v), "acc_delta" (u).
    """

    _checks = {
        "lr": non_negative,
        "rho": unit,
        "eps": non_negative,
        "weight_decay": non_negative,
        "maximize": flag,
    }
    _rules = ("adadelta",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("adadelta")
