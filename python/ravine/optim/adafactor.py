"""Adafactor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ravine._hyper import Numbers, flag, non_negative, non_positive, none_or, one_or_more
from ravine.optim._rule_optimizer import Rule, RuleOptimizer

Array = np.ndarray[Any, Any]

# None stands for the dtype's own epsilon.
_EPSILONS = Numbers({"eps1": none_or(non_negative, -1.0), "eps2": non_negative}, "a pair such as (None, 1e-3)")


class Adafactor(RuleOptimizer):
    """Adaptive steps that need nearly no memory: one number for each row and column of a matrix.

        w = t^beta2_decay
        matrices:  r <- r + w (mean of g^2 along the row - r);   c <- c + w (mean of g^2 along the column - c)
                   v = r c / max(mean(r), eps1)
        vectors:   v <- v + w (g^2 - v)
        u = g / sqrt(max(v, eps1^2))
        p <- (1 - lr weight_decay) p - max(eps2, RMS(p)) min(lr, 1 / sqrt(t)) / max(1, RMS(u) / d) u

    An array of more than two dimensions is a stack of matrices, of its last two. RMS is that of a whole parameter, of p
    before it shrinks.

    Shazeer & Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", algorithms 4 to 6.

    Args:
        params: see `Optimizer`. Fortran order only for vectors and matrices.
        lr: greatest relative step size.
        beta2_decay: how fast the weight of new squares falls; 0 or less.
        eps: a pair, eps1 and eps2: a lower limit of sqrt(v), None being the dtype's resolution; and of RMS(p), so that
            parameters of 0 can move.
        d: upper limit of the update's RMS, 1 or more.
        weight_decay: how fast parameters shrink, in units of lr a step.
        foreach: accepted for torch's sake and without effect: every step is fused.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step"; "row_var" (r, of shape (..., rows, 1)) and "col_var" (c, (..., 1, columns)), or "variance" (v).
    """

    _checks = {
        "lr": non_negative,
        "beta2_decay": non_positive,
        "eps": _EPSILONS,
        "d": one_or_more,
        "weight_decay": non_negative,
        "maximize": flag,
    }
    _rules = ("adafactor", "adafactor_factored")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def _check_array(self, array: Array, where: str) -> None:
        if array.ndim > 2 and not array.flags.c_contiguous:
            raise ValueError(
                f"{where} is in Fortran order; expected C order where there are more than two dimensions. Pass a copy "
                "made with np.ascontiguousarray(...), which is then updated instead."
            )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("adafactor")

    def _rule_of(self, array: Array, rule: str) -> str:
        return rule if array.ndim == 1 else "adafactor_factored"
