"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class Adagrad(RuleOptimizer):
    """A learning rate for each element, falling with the sum of its squared gradients: `torch.optim.Adagrad`.

        s <- s + g^2
        p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    Duchi, Hazan & Singer 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization".

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        lr_decay: how fast lr falls with the step number t = 1, 2, ...
        weight_decay: L2 penalty, added to the gradient as weight_decay p.
        initial_accumulator_value: where s starts.
        eps: keeps the division finite.
        maximize: climb instead of descend.
        foreach, fused: accepted for torch's sake and without effect: every step is fused.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "sum".
    """

    _checks = {
        "lr": non_negative,
        "lr_decay": non_negative,
        "weight_decay": non_negative,
        "initial_accumulator_value": non_negative,
        "eps": non_negative,
        "maximize": flag,
    }
    _rules = ("adagrad",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("adagrad")

    def _initial_state(self, name: str, group: Mapping[str, Any]) -> float:
        return float(group["initial_accumulator_value"])
