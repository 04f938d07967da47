"""Stochastic gradient descent, with momentum and Nesterov's acceleration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


class SGD(RuleOptimizer):
    """Gradient descent, plain or with momentum: `torch.optim.SGD`.

        b <- momentum b + (1 - dampening) g        the first step stores g undamped
        p <- p - lr b                              nesterov: p <- p - lr (g + momentum b)

    Heavy ball: Polyak 1964; both forms: Sutskever, Martens, Dahl & Hinton 2013, "On the importance of initialization
    and momentum in deep learning", with lr outside the velocity as in torch.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        momentum: how much of the velocity b stays; 0 keeps no velocity at all.
        dampening: how much of the gradient is kept out of the velocity.
        weight_decay: L2 penalty, added to the gradient as weight_decay p.
        nesterov: look ahead along the velocity; needs momentum, and no dampening.
        maximize: climb instead of descend.
        foreach, fused: accepted for torch's sake and without effect: every step is fused.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "momentum_buffer", where there is momentum; "step" counts from when it was made.
    """

    _checks = {
        "lr": non_negative,
        "momentum": non_negative,
        "dampening": non_negative,
        "weight_decay": non_negative,
        "nesterov": flag,
        "maximize": flag,
    }
    _rules = ("sgd", "momentum", "nesterov")
    _switches = ("momentum", "dampening")
    _counts_state = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _check_together(self, group: Mapping[str, Any], where: str) -> None:
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                f"{where}nesterov=True with momentum={group['momentum']}, dampening={group['dampening']}; "
                "expected momentum above 0 and dampening 0."
            )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("sgd" if group["momentum"] == 0 else "nesterov" if group["nesterov"] else "momentum")
