"""LARS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class LARS(RuleOptimizer):
    """Momentum with a learning rate for each tensor, as long as the tensor is: LARS, as in optax.

        r = trust_coefficient |p| / (|g| + eps)                  1 where |p| or |g| is 0
        b <- momentum b + lr r g;   p <- p - b                    nesterov: p <- p - (momentum b + lr r g)

    The learning rate is inside the velocity, unlike SGD's. Norms are those of a whole parameter array.

    You, Gitman & Ginsburg 2017, "Large Batch Training of Convolutional Networks", algorithm 1.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        momentum: how much of the velocity stays.
        weight_decay: L2 penalty, added to the gradient as weight_decay p before its norm is taken.
        trust_coefficient: how far, relative to its length, a parameter may go in a step of lr = 1.
        eps: added to the norm of the gradient.
        nesterov: step along the velocity that the next step would have.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "momentum_buffer" (b).
    """

    _checks = {
        "lr": non_negative,
        "momentum": non_negative,
        "weight_decay": non_negative,
        "trust_coefficient": non_negative,
        "eps": non_negative,
        "nesterov": flag,
        "maximize": flag,
    }
    _rules = ("lars", "lars_nesterov")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        eps: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust_coefficient": trust_coefficient,
                "eps": eps,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("lars_nesterov" if group["nesterov"] else "lars")
