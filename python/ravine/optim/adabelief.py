"""AdaBelief."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class AdaBelief(RuleOptimizer):
    """Adam that takes large steps where the gradient is as its mean foretold: AdaBelief, as in optax.

        m <- beta1 m + (1 - beta1) g;   s <- beta2 s + (1 - beta2) (g - m)^2 + eps_root
        p <- p - lr m' / (sqrt(s') + eps),   m' = m / (1 - beta1^t),   s' = s / (1 - beta2^t)
        nesterov: beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / (1 - beta1^t) stands for m'

    Zhuang et al. 2020, "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients", algorithm 2;
    Nesterov's momentum: Dozat 2016, "Incorporating Nesterov Momentum into Adam".

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m and of s stays.
        eps: added to the root, keeps the division finite.
        weight_decay: L2 penalty, added to the gradient as weight_decay p; with decoupled_weight_decay the parameter is
            first multiplied by 1 - lr weight_decay instead.
        decoupled_weight_decay: see weight_decay.
        eps_root: added to s at each step, and so gathered up there, to about eps_root / (1 - beta2).
        nesterov: look ahead along the momentum.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "exp_avg" (m), "exp_avg_var" (s).
    """

    _checks = {
        "lr": non_negative,
        "betas": pair_of_betas,
        "eps": non_negative,
        "weight_decay": non_negative,
        "decoupled_weight_decay": flag,
        "eps_root": non_negative,
        "nesterov": flag,
        "maximize": flag,
    }
    _rules = ("adabelief", "adabelief_nesterov")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        eps_root: float = 1e-16,
        nesterov: bool = False,
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
                "eps_root": eps_root,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        name = "adabelief_nesterov" if group["nesterov"] else "adabelief"
        return Rule(name, decoupled=group["decoupled_weight_decay"])
