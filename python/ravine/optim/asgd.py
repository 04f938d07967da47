"""ASGD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative
from ravine.optim._modifiers import no_modifiers
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class ASGD(RuleOptimizer):
    """Gradient descent that also averages the parameters it steps through: `torch.optim.ASGD`.

        p <- (1 - lambd eta) p - eta g;   a <- a + mu (p - a)
        eta <- lr / (1 + lambd lr t)^alpha;   mu <- 1 / max(1, t - t0)          at first eta = lr, mu = 1

    Polyak & Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; the schedules: Xu 2011, "Towards
    Optimal One Pass Large Scale Learning with Averaged Stochastic Gradient Descent", and Bottou 2012, "Stochastic
    Gradient Descent Tricks", section 5.

    Args:
        params: see `Optimizer`.
        lr: learning rate of the first step. A changed one is felt a step later, as in torch.
        lambd: how strongly parameters decay, and how early eta falls.
        alpha: the power with which eta falls.
        t0: the step after which a becomes an average; before, it is the parameter itself.
        weight_decay: L2 penalty, added to the gradient as weight_decay p.
        maximize: climb instead of descend.
        foreach: accepted for torch's sake and without effect: every step is fused.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "eta" and "mu" (numbers), "ax" (a, the average).
    """

    _checks = {
        "lr": non_negative,
        "lambd": non_negative,
        "alpha": non_negative,
        "t0": non_negative,
        "weight_decay": non_negative,
        "maximize": flag,
    }
    _rules = ("asgd",)
    _modifiers = no_modifiers("it averages the parameters in the same step")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("asgd")
