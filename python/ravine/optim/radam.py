"""RAdam."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class RAdam(RuleOptimizer):
    """Adam that warms up by itself, by how far v can be trusted: `torch.optim.RAdam`.

        m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2;   m' = m / (1 - beta1^t)
        rho = 2 / (1 - beta2) - 1;   rho_t = rho - 2 t beta2^t / (1 - beta2^t)
        rho_t > 5:  p <- p - lr r_t m' sqrt(1 - beta2^t) / (sqrt(v) + eps)
                    r_t^2 = (rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t)
        otherwise:  p <- p - lr m'

    Liu, Jiang, He, Chen, Liu, Gao & Han 2020, "On the Variance of the Adaptive Learning Rate and Beyond", algorithm 2,
    with torch's place of eps and its limit of 5.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m and of v stays.
        eps: added to the root, keeps the division finite.
        weight_decay: L2 penalty, added to the gradient as weight_decay p; with decoupled_weight_decay the parameter is
            first multiplied by 1 - lr weight_decay instead.
        decoupled_weight_decay: see weight_decay.
        maximize: climb instead of descend.
        foreach: accepted for torch's sake and without effect: every step is fused.

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
        "maximize": flag,
    }
    _rules = ("radam",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
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
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("radam", decoupled=group["decoupled_weight_decay"])
