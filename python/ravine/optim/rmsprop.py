"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, unit
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class RMSprop(RuleOptimizer):
    """A learning rate for each element, from a running mean of its squared gradients: `torch.optim.RMSprop`.

        v <- alpha v + (1 - alpha) g^2
        u  = g / (sqrt(v) + eps)                   eps_inside_sqrt: g / sqrt(v + eps)
        p <- p - lr u                              momentum: b <- momentum b + u,  p <- p - lr b
        centered: v - a^2 stands for v, where a <- alpha a + (1 - alpha) g; below 0 it counts as 0

    Tieleman & Hinton 2012, "Neural Networks for Machine Learning", lecture 6e; centered: Graves 2013, "Generating
    Sequences With Recurrent Neural Networks", equations 38 to 45.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        alpha: how much of the mean square stays.
        eps: keeps the division finite.
        weight_decay: L2 penalty, added to the gradient as weight_decay p.
        momentum: how much of the velocity b stays; 0 keeps no velocity at all.
        centered: divide by the standard deviation instead of the root mean square.
        maximize: climb instead of descend.
        eps_inside_sqrt: add eps under the root, as optax, Keras and TensorFlow do; torch adds it outside.
        foreach: accepted for torch's sake and without effect: every step is fused.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "square_avg"; "grad_avg" where centered; "momentum_buffer" where there is momentum.
    """

    _checks = {
        "lr": non_negative,
        "alpha": unit,
        "eps": non_negative,
        "weight_decay": non_negative,
        "momentum": non_negative,
        "centered": flag,
        "maximize": flag,
        "eps_inside_sqrt": flag,
    }
    _rules = ("rmsprop", "rmsprop_momentum", "rmsprop_centered", "rmsprop_centered_momentum")
    _switches = ("momentum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        eps_inside_sqrt: bool = False,
        foreach: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
                "eps_inside_sqrt": eps_inside_sqrt,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        name = "rmsprop" + ("_centered" if group["centered"] else "") + ("_momentum" if group["momentum"] else "")
        return Rule(name, eps=0.0, eps_root="eps") if group["eps_inside_sqrt"] else Rule(name, eps_root=0.0)
