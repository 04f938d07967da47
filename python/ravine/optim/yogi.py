"""Yogi."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class Yogi(RuleOptimizer):
    """Adam whose mean square follows the gradient in steps of the gradient's size alone: Yogi, as in optax.

        m <- beta1 m + (1 - beta1) g;   v <- v - (1 - beta2) sign(v - g^2) g^2
        p <- p - lr m' / (sqrt(v') + eps),   m' = m / (1 - beta1^t),   v' = v / (1 - beta2^t)

    Zaheer, Reddi, Sachan, Kale & Kumar 2018, "Adaptive Methods for Nonconvex Optimization", algorithm 2.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m stays; v moves by 1 - betas[1] of g^2.
        eps: added to the root; larger than Adam's, as the paper advises.
        weight_decay: L2 penalty, added to the gradient as weight_decay p; with decoupled_weight_decay the parameter is
            first multiplied by 1 - lr weight_decay instead.
        decoupled_weight_decay: see weight_decay.
        initial_accumulator_value: where both m and v start.
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
        "decoupled_weight_decay": flag,
        "initial_accumulator_value": non_negative,
        "maximize": flag,
    }
    _rules = ("yogi",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-3,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        initial_accumulator_value: float = 1e-6,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("yogi", decoupled=group["decoupled_weight_decay"])

    def _initial_state(self, name: str, group: Mapping[str, Any]) -> float:
        return float(group["initial_accumulator_value"])
