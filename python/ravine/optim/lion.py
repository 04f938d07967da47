"""Lion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class Lion(RuleOptimizer):
    """Steps of one size, in the direction of the sign of a momentum: Lion, as in optax.

        p <- (1 - lr weight_decay) p - lr sign(beta1 m + (1 - beta1) g)
        m <- beta2 m + (1 - beta2) g

    Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2.

    Args:
        params: see `Optimizer`.
        lr: learning rate, 3 to 10 times smaller than AdamW's.
        betas: how much of m counts in the sign, and how much of it stays.
        weight_decay: how fast parameters shrink, in units of lr a step; 3 to 10 times AdamW's.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "exp_avg" (m).
    """

    _checks = {
        "lr": non_negative,
        "betas": pair_of_betas,
        "weight_decay": non_negative,
        "maximize": flag,
    }
    _rules = ("lion",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 1e-3,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("lion")
