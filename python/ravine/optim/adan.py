"""Adan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, three_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class Adan(RuleOptimizer):
    """Adam with Nesterov's momentum from the change of the gradient: Adan.

        m <- beta1 m + (1 - beta1) g;   a <- beta2 a + (1 - beta2) d,   d = g - g' (0 at first)
        n <- beta3 n + (1 - beta3) (g + beta2 d)^2
        p <- p - lr (m / (1 - beta1^t) + beta2 a / (1 - beta2^t)) / (sqrt(n / (1 - beta3^t) + eps_root) + eps)

    Xie, Zhou, Li, Lin & Yan 2022, "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models",
    algorithm 1; its betas are one minus these, which are those of the authors' program. optax has 1 - beta2 where this
    formula, the paper and the authors' program have beta2.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m, a and n stays.
        eps: added to the root, keeps the division finite.
        weight_decay: how fast parameters shrink, in units of lr a step (no_prox=True in the authors' program).
        eps_root: added under the root.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "exp_avg" (m), "exp_avg_diff" (a), "exp_avg_sq" (n), "previous_grad" (g').
    """

    _checks = {
        "lr": non_negative,
        "betas": three_betas,
        "eps": non_negative,
        "weight_decay": non_negative,
        "eps_root": non_negative,
        "maximize": flag,
    }
    _rules = ("adan",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        eps_root: float = 0.0,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "eps_root": eps_root,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("adan")
