"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class Adamax(RuleOptimizer):
    """Adam with the greatest recent gradient in place of the root mean square: `torch.optim.Adamax`.

        m <- beta1 m + (1 - beta1) g;   u <- max(beta2 u, |g| + eps)
        p <- p - lr / (1 - beta1^t) m / u

    Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 2, with eps where torch has it.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m and of u stays.
        eps: added to the gradient's size, keeps the division finite.
        weight_decay: L2 penalty, added to the gradient as weight_decay p.
        maximize: climb instead of descend.
        foreach: accepted for torch's sake and without effect: every step is fused.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "exp_avg" (m), "exp_inf" (u).
    """

    _checks = {
        "lr": non_negative,
        "betas": pair_of_betas,
        "eps": non_negative,
        "weight_decay": non_negative,
        "maximize": flag,
    }
    _rules = ("adamax",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("adamax")
