"""NAdam."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class NAdam(RuleOptimizer):
    """Adam with Nesterov's momentum, which grows slowly to beta1: `torch.optim.NAdam`.

        m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2
        mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);   M_t = mu_1 mu_2 ... mu_t
        p <- p - lr ((1 - mu_t) / (1 - M_t) g + mu_t+1 / (1 - M_t+1) m) / (sqrt(v / (1 - beta2^t)) + eps)

    Dozat 2016, "Incorporating Nesterov Momentum into Adam", algorithm 2.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m and of v stays.
        eps: added to the root, keeps the division finite.
        weight_decay: L2 penalty, added to the gradient as weight_decay p; with decoupled_weight_decay the parameter is
            first multiplied by 1 - lr weight_decay instead.
        momentum_decay: how fast mu_t grows from about beta1 / 2 to beta1.
        decoupled_weight_decay: see weight_decay.
        maximize: climb instead of descend.
        foreach: accepted for torch's sake and without effect: every step is fused.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "mu_product" (M_t, a number), "exp_avg" (m), "exp_avg_sq" (v).
    """

    _checks = {
        "lr": non_negative,
        "betas": pair_of_betas,
        "eps": non_negative,
        "weight_decay": non_negative,
        "momentum_decay": non_negative,
        "decoupled_weight_decay": flag,
        "maximize": flag,
    }
    _rules = ("nadam",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("nadam", decoupled=group["decoupled_weight_decay"])
