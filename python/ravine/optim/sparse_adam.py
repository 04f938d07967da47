"""SparseAdam."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class SparseAdam(RuleOptimizer):
    """Adam for gradients that name a few rows of a table, an embedding's: `torch.optim.SparseAdam`.

        m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2             the rows that g names
        p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)

    Other rows, their m and their v stay as they are, so a step costs what the named rows cost. t counts all steps of
    the parameter. Give gradients as `SparseGrad`; an array counts as one that names every row.

    Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", section 2, the order of computation at its end,
    row by row as in torch.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m and of v stays.
        eps: added to the root, keeps the division finite.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "exp_avg" (m), "exp_avg_sq" (v).
    """

    _checks = {
        "lr": non_negative,
        "betas": pair_of_betas,
        "eps": non_negative,
        "maximize": flag,
    }
    _rules = ("sparse_adam",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("sparse_adam")
