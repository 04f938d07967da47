"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import Range, flag, non_negative, pair_of_betas
from ravine.optim._modifiers import ADAM_MODIFIERS
from ravine.optim._rule_optimizer import Rule, RuleOptimizer

# Not a choice of AdamW: with the L2 penalty it is Adam.
_DECOUPLED = Range("True, or Adam instead of AdamW", low=1, high=1, kind="flag", outside="")


class Adam(RuleOptimizer):
    """Momentum and a learning rate for each element, both from running means: `torch.optim.Adam`.

        m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2
        p <- p - lr m' / (sqrt(v' + eps_root) + eps),   m' = m / (1 - beta1^t),   v' = v / (1 - beta2^t)
        amsgrad: the greatest v so far stands for v in the second line

    Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1; amsgrad: Reddi, Kale & Kumar 2018, "On
    the Convergence of Adam and Beyond", algorithm 2, with the greatest raw v as in torch; decoupled decay: Loshchilov &
    Hutter 2019, "Decoupled Weight Decay Regularization".

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how much of m and of v stays.
        eps: added to the root, keeps the division finite.
        weight_decay: L2 penalty, added to the gradient as weight_decay p; with decoupled_weight_decay the parameter is
            first multiplied by 1 - lr weight_decay instead.
        amsgrad: never let the learning rate of an element grow back.
        maximize: climb instead of descend.
        decoupled_weight_decay: see weight_decay.
        eps_root: added under the root; `eps=0, eps_root=1e-8` is the form sqrt(v' + eps) of many textbooks.
        foreach, fused: accepted for torch's sake and without effect: every step is fused.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "exp_avg" (m), "exp_avg_sq" (v); "max_exp_avg_sq" where amsgrad.
    """

    _checks = {
        "lr": non_negative,
        "betas": pair_of_betas,
        "eps": non_negative,
        "weight_decay": non_negative,
        "amsgrad": flag,
        "maximize": flag,
        "decoupled_weight_decay": flag,
        "eps_root": non_negative,
    }
    _rules = ("adam", "amsgrad")
    _modifiers = ADAM_MODIFIERS

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        eps_root: float = 0.0,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
                "eps_root": eps_root,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("amsgrad" if group["amsgrad"] else "adam", decoupled=group["decoupled_weight_decay"])


class AdamW(Adam):
    """Adam with decoupled weight decay: `torch.optim.AdamW`.

    The parameter is multiplied by 1 - lr weight_decay, then updated as by `Adam`.

    Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2, with lr as the schedule multiplier.

    Args:
        params: see `Optimizer`.
        lr, betas, eps, amsgrad, maximize, eps_root, foreach, fused: as in `Adam`.
        weight_decay: how fast parameters shrink, in units of lr a step.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: as of `Adam`.
    """

    _checks = {**Adam._checks, "decoupled_weight_decay": _DECOUPLED}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        eps_root: float = 0.0,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
            eps_root=eps_root,
        )
