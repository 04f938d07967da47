"""Rprop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ravine._hyper import Numbers, Range, flag, non_negative, proper_fraction
from ravine.optim._rule_optimizer import Rule, RuleOptimizer


def _check_order(where: str, value: Any, limits: Sequence[float]) -> None:
    if limits[0] > limits[1]:
        raise ValueError(f"{where}={value!r}; expected the lower limit first.")


_ETAS = Numbers(
    {
        "eta_minus": proper_fraction,
        "eta_plus": Range("a number above 1", low=1, low_open=True, expected_type="a finite number"),
    },
    "a pair of factors such as (0.5, 1.2)",
)
_STEP_SIZES = Numbers(
    {"step_min": non_negative, "step_max": non_negative}, "a pair of limits such as (1e-6, 50)", together=_check_order
)


class Rprop(RuleOptimizer):
    """Steps that follow only the signs of whole-set gradients: `torch.optim.Rprop`.

        g g' > 0:  s <- min(s eta_plus, greatest)          g' is the gradient of the step before
        g g' < 0:  s <- max(s eta_minus, least);   g <- 0
        p <- p - sign(g) s

    Riedmiller & Braun 1993, "A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP Algorithm", but
    without taking steps back: iRprop- of Igel & Huesken 2000, "Improving the Rprop Learning Algorithm", algorithm 2.

    Args:
        params: see `Optimizer`.
        lr: where the step sizes s start; it matters at a parameter's first step alone.
        etas: the factors (eta_minus, eta_plus) by which s falls and grows.
        step_sizes: the least and the greatest s.
        maximize: climb instead of descend.
        foreach: accepted for torch's sake and without effect: every step is fused.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "prev" (g'), "step_size" (s).
    """

    _checks = {"lr": non_negative, "etas": _ETAS, "step_sizes": _STEP_SIZES, "maximize": flag}
    _rules = ("rprop",)
    _switches = ("step_sizes",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize})

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("rprop")
