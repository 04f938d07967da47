"""AdEMAMix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, three_betas, whole
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class AdEMAMix(RuleOptimizer):
    """AdamW with a second momentum that remembers thousands of steps: AdEMAMix, as in optax.

        m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2;   l <- beta3_t l + (1 - beta3_t) g
        p <- (1 - lr weight_decay) p - lr (m' + alpha_t l) / (sqrt(v' + eps_root) + eps)
        m' = m / (1 - beta1^t),   v' = v / (1 - beta2^t)
        alpha_t = alpha min(1, t / alpha_warmup)
        1 / ln(beta3_t) = (1 - a) / ln(beta1) + a / ln(beta3),   a = min(1, t / beta3_warmup)

    Pagliardini, Ablin & Grangier 2024, "The AdEMAMix Optimizer: Better, Faster, Older", algorithm 1 and the schedules
    after it.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m, of v and of l stays.
        eps: added to the root, keeps the division finite.
        weight_decay: how fast parameters shrink, in units of lr a step.
        alpha: how much l counts beside m.
        alpha_warmup, beta3_warmup: in how many steps alpha grows from 0, and beta3 from beta1. 0: they are there at
            once. The paper takes the length of the training for both.
        eps_root: added under the root.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "exp_avg" (m), "exp_avg_slow" (l), "exp_avg_sq" (v).
    """

    _checks = {
        "lr": non_negative,
        "betas": three_betas,
        "eps": non_negative,
        "weight_decay": non_negative,
        "alpha": non_negative,
        "alpha_warmup": whole,
        "beta3_warmup": whole,
        "eps_root": non_negative,
        "maximize": flag,
    }
    _rules = ("ademamix",)
    _switches = ("betas", "beta3_warmup")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        alpha: float = 5.0,
        *,
        alpha_warmup: int = 0,
        beta3_warmup: int = 0,
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
                "alpha": alpha,
                "alpha_warmup": alpha_warmup,
                "beta3_warmup": beta3_warmup,
                "eps_root": eps_root,
                "maximize": maximize,
            },
        )

    def _check_together(self, group: Mapping[str, Any], where: str) -> None:
        beta1, _, beta3 = group["betas"]
        if group["beta3_warmup"] and not 0 < beta1 <= beta3:
            raise ValueError(
                f"{where}beta3_warmup={group['beta3_warmup']} with betas={group['betas']}; expected a betas[0] above 0 "
                "from which betas[2] can grow, or beta3_warmup=0."
            )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("ademamix")
