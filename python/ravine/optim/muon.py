"""Muon."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ravine import _core
from ravine._hyper import Numbers, finite, flag, non_negative, one_of, positive, unit, whole
from ravine.optim._rule_optimizer import Rule, RuleOptimizer

Array = np.ndarray[Any, Any]

_COEFFICIENTS = Numbers({"a": finite, "b": finite, "c": finite}, "three numbers such as (3.4445, -4.775, 2.0315)")

# What NumPy computes with; the compiled part has the other hyper-parameters.
_OF_THE_ITERATION = ("ns_coefficients", "eps", "ns_steps", "adjust_lr_fn")


class Muon(RuleOptimizer):
    """Momentum, made orthogonal: all directions of a matrix move equally fast.

        b <- momentum b + (1 - momentum) g;   u = b              nesterov: u = momentum b + (1 - momentum) g
        X = u / max(|u|, eps), transposed where it has more rows than columns
        ns_steps times:  X <- a X + (b A + c A^2) X,   A = X X^T                       a, b, c = ns_coefficients
        p <- (1 - lr weight_decay) p - lr scale X                transposed back

    The iteration (Newton and Schulz) brings all singular values of u near 1. For the matrices of hidden layers; let
    another optimizer, such as AdamW, have vectors, embeddings and the last layer.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; match_rms_adamw: Liu et al. 2025,
    "Muon is Scalable for LLM Training", section 2.2.

    Args:
        params: see `Optimizer`; matrices only, (rows, columns).
        lr: learning rate.
        weight_decay: how fast parameters shrink, in units of lr a step.
        momentum: how much of b stays.
        nesterov: see the formula.
        ns_coefficients: a, b and c of the iteration.
        eps: lower limit of the norm that u is divided by.
        ns_steps: how many iterations.
        adjust_lr_fn: None or "original": scale = sqrt(max(1, rows / columns)); "match_rms_adamw": 0.2 sqrt(max(rows,
            columns)), with which learning rates and decays of AdamW suit.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step", "momentum_buffer" (b).
    """

    _checks = {
        "lr": non_negative,
        "weight_decay": non_negative,
        "momentum": unit,
        "nesterov": flag,
        "ns_coefficients": _COEFFICIENTS,
        "eps": positive,
        "ns_steps": whole,
        "adjust_lr_fn": one_of(None, "original", "match_rms_adamw"),
        "maximize": flag,
    }
    _rules = ("muon", "muon_nesterov")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
                "maximize": maximize,
            },
        )

    def _check_array(self, array: Array, where: str) -> None:
        if array.ndim != 2:
            raise ValueError(f"{where}: expected a matrix. Give what is none to another optimizer, such as AdamW.")

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("muon_nesterov" if group["nesterov"] else "muon")

    def _new_plan(self) -> _core.Plan:
        plan = super()._new_plan()
        held_weakly = weakref.ref(self)  # the plan must not keep its owner

        def transform(positions: Sequence[int]) -> None:
            optimizer = held_weakly()
            if optimizer is not None:
                optimizer._transform(positions)

        plan.set_transform(transform)
        return plan

    def _transform(self, positions: Sequence[int]) -> None:
        """Make the directions of these parameters orthogonal."""
        for i in positions:
            group = self.param_groups[self._records[i].group]
            hyper = {name: self._checks[name](f"Muon: {name}", group[name]) for name in _OF_THE_ITERATION}
            _make_orthogonal(self._scratch[i]["direction"], hyper)


def _make_orthogonal(u: Array, group: Mapping[str, Any]) -> None:
    """Replace a direction by the scaled result of the iteration."""
    rows, columns = u.shape
    if u.size == 0:
        return
    scale = math.sqrt(max(1.0, rows / columns))
    if group["adjust_lr_fn"] == "match_rms_adamw":
        scale = 0.2 * math.sqrt(max(rows, columns))
    x = u if rows <= columns else u.T
    x /= max(np.linalg.norm(u), group["eps"])
    steps = group["ns_steps"]
    for step in range(steps):
        # The last one scales: it costs nothing there.
        a, b, c = (k * scale if step == steps - 1 else k for k in group["ns_coefficients"])
        gram = x @ x.T
        factor = c * (gram @ gram)
        factor += b * gram
        moved = factor @ x
        x *= a
        x += moved
    if steps == 0:
        x *= scale
