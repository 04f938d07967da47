"""ADOPT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class ADOPT(RuleOptimizer):
    """Adam that scales a gradient by those before it, and so converges with any beta2: ADOPT, as in optax.

        u  = g / max(sqrt(v), eps), clipped to +-(t - 1)^(1/4)
        m <- beta1 m + (1 - beta1) u;   p <- p - lr m;   v <- beta2 v + (1 - beta2) g^2
        The first step only makes v = g^2. nesterov: m + (1 - beta1) (u - m) stands for m in the second line.

    Taniguchi et al. 2024, "ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate", algorithm 2.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m and of v stays.
        eps: the least denominator.
        weight_decay: L2 penalty, added to the gradient as weight_decay p; with decoupled_weight_decay the parameter is
            first multiplied by 1 - lr weight_decay instead.
        decoupled_weight_decay: see weight_decay.
        nesterov: look ahead along the momentum.
        use_clipping: clip u; without it single gradients can throw the parameters far early on.
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
        "nesterov": flag,
        "use_clipping": flag,
        "maximize": flag,
    }
    _rules = ("adopt", "adopt_nesterov")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.9999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        nesterov: bool = False,
        use_clipping: bool = True,
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
                "nesterov": nesterov,
                "use_clipping": use_clipping,
                "maximize": maximize,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("adopt_nesterov" if group["nesterov"] else "adopt", decoupled=group["decoupled_weight_decay"])
