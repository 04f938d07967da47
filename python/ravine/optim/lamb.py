"""LAMB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class LAMB(RuleOptimizer):
    """AdamW with a learning rate for each tensor, as long as the tensor is: LAMB, as in optax.

        m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2
        u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t) + eps_root) + eps) + weight_decay p
        p <- p - lr |p| / |u| u                                   p - lr u where |p| or |u| is 0

    Norms are those of a whole parameter array.

    You et al. 2020, "Large Batch Optimization for Deep Learning: Training BERT in 76 Minutes", algorithm 2.

    Args:
        params: see `Optimizer`.
        lr: learning rate: how far, relative to its length, a parameter goes in a step.
        betas: decay rates of the running means of g and g^2.
        eps: added to the root.
        weight_decay: weight of the parameter in the update.
        eps_root: added under the root.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "exp_avg" (m), "exp_avg_sq" (v).
    """

    _checks = {
        "lr": non_negative,
        "betas": pair_of_betas,
        "eps": non_negative,
        "weight_decay": non_negative,
        "eps_root": non_negative,
        "maximize": flag,
    }
    _rules = ("lamb",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
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
        return Rule("lamb")
