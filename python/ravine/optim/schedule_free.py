"""Schedule-free SGD and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ravine._hyper import averaging_betas, flag, non_negative, proper_fraction, whole
from ravine.optim._averages import Averages
from ravine.optim._constant_plan import constant_plan
from ravine.optim._groups import group_prefix
from ravine.optim._modifiers import no_modifiers
from ravine.optim._rule_optimizer import Rule, RuleOptimizer
from ravine.optim._step_options import StepOptions

Array = np.ndarray[Any, Any]


class ScheduleFree(RuleOptimizer):
    """What schedule-free optimizers share: parameters that are y in training and x, the average, in evaluation.

    y = beta x + (1 - beta) z, where z are the steps of the optimizer underneath. Only the parameters and z are kept;
    the group's "train_mode" says which of the two its parameters are, and is saved with it.
    """

    _modifiers = no_modifiers("its parameters are an average of its steps, no sum of updates")

    def _beta(self, group: Mapping[str, Any]) -> float:
        """Return how much of x there is in y."""
        raise NotImplementedError

    def train(self) -> None:
        """Turn the parameters into y, at which gradients are taken; nothing happens where they are.

        Raises:
            RuntimeError: this optimizer is in the middle of a step.
        """
        self._alone("train", lambda: self._turner(True))

    def eval(self) -> None:
        """Turn the parameters into x, the average that the training is for; nothing happens where they are.

        Raises:
            RuntimeError: this optimizer is in the middle of a step.
        """
        self._alone("eval", lambda: self._turner(False))

    def _turner(self, train: bool) -> Callable[[], None]:
        self._parameters.check_data()
        turned = np.zeros((), np.int64)
        groups = self._checked_groups()
        betas = map(self._beta, groups)
        weights = [{"weight": 1 - beta if train else 1 - 1 / beta} for beta in betas]
        given = [(record.pinned, record.group, np.zeros((), np.int64)) for record in self._records]
        plan = constant_plan(self._owner, given, turned, "lerp", weights)
        targets = [
            record.states["z"] if groups[record.group]["train_mode"] != train and record.step > 0 else None
            for record in self._records
        ]

        def turn() -> None:
            if not turned:
                plan.step_as_set(targets)
            for group in self.param_groups:
                group["train_mode"] = train

        return turn

    def _step(
        self, grads: Any = None, closure: Callable[[], Any] | None = None, options: StepOptions | None = None
    ) -> Any:
        self._check_training()
        return super()._step(grads, closure, options)

    def _step_param(self, param: Any, grad: Any, options: StepOptions) -> None:
        self._check_training()
        super()._step_param(param, grad, options)

    def _check_training(self) -> None:
        try:
            for group in self.param_groups:
                if not group["train_mode"]:
                    self._refuse_step()
        except (KeyError, TypeError):
            self._checked_groups()
            raise

    def _averager(self, averages: Averages | None) -> Callable[[], None]:
        if averages is not None:
            raise ValueError(
                f"{self._owner}: it keeps an average of its own, which eval() puts into the parameters; in training "
                "they are no weights to average."
            )
        return super()._averager(averages)

    def _refuse_step(self) -> None:
        modes = [group["train_mode"] for group in self._checked_groups()]
        raise RuntimeError(
            f"{group_prefix(self._owner, modes.index(False))}step() after eval(): the parameters are the average. "
            "Call train() first, and take the gradients after it."
        )


class SGDScheduleFree(ScheduleFree):
    """Gradient descent that needs no schedule: the `SGDScheduleFree` of the package schedulefree.

        lr_t = lr min(1, t / warmup_steps);   w_t = t^r (max lr)^weight_lr_power;   c = w_t / (w_1 + ... + w_t)
        z <- z - lr_t g;   x <- (1 - c) x + c z;   y = momentum x + (1 - momentum) z

    Gradients are taken at y, results are read at x: the parameters are y in training (`train()`, where it starts) and x
    in evaluation (`eval()`). Only they and z are kept.

        opt.train()
        for ...:
            opt.step(grads)       # taken at the parameters as they are, y
        opt.eval()                # measure, export, stop: the parameters are x

    A checkpoint holds parameters and `state_dict()` together; in which of the two forms they are is in the groups, as
    "train_mode", and both go on to the same bits. Where the parameters alone are saved, call `eval()` first: what is
    deployed should be x.

    Defazio, Yang, Khaled, Mishchenko, Mehta & Cutkosky 2024, "The Road Less Scheduled", equations 1 to 3.

    Args:
        params: see `Optimizer`.
        lr: learning rate; larger than plain SGD's, by a factor of 10 to 50.
        momentum: how much of x there is in y. Changed later, it changes what the parameters stand for.
        weight_decay: L2 penalty, added to the gradient as weight_decay y.
        warmup_steps: in how many steps the learning rate grows to lr.
        r: power of t in the weights of the average.
        weight_lr_power: power of the greatest learning rate so far in these weights.
        maximize: climb instead of descend.
        foreach: accepted for the package's sake and without effect: every step is fused.
        train_mode: whether the parameters are y; before the first step both are the same.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.
        RuntimeError: in `step`, after `eval()`.

    State: "step", "weight_sum" and "lr_max" (numbers), "z".
    """

    _checks = {
        "lr": non_negative,
        "momentum": proper_fraction,
        "weight_decay": non_negative,
        "warmup_steps": whole,
        "r": non_negative,
        "weight_lr_power": non_negative,
        "maximize": flag,
        "train_mode": flag,
    }
    _rules = ("sgd_schedule_free",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "warmup_steps": warmup_steps,
                "r": r,
                "weight_lr_power": weight_lr_power,
                "maximize": maximize,
                "train_mode": True,
            },
        )

    def _beta(self, group: Mapping[str, Any]) -> float:
        return float(group["momentum"])

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("sgd_schedule_free")


class AdamWScheduleFree(ScheduleFree):
    """AdamW that needs no schedule: the `AdamWScheduleFree` of the package schedulefree.

        v <- beta2 v + (1 - beta2) g^2;   u = g / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay y
        lr_t = lr min(1, t / warmup_steps);   w_t = t^r (max lr)^weight_lr_power;   c = w_t / (w_1 + ... + w_t)
        z <- z - lr_t u;   x <- (1 - c) x + c z;   y = beta1 x + (1 - beta1) z

    The parameters are y in training and x in evaluation: call `eval()` before measuring or exporting, and `train()` to
    go on. `SGDScheduleFree` says more, also about checkpoints.

    Defazio, Yang, Khaled, Mishchenko, Mehta & Cutkosky 2024, "The Road Less Scheduled", algorithm 1.

    Args:
        params: see `Optimizer`.
        lr: learning rate; larger than AdamW's with a schedule, by a factor of 1 to 10.
        betas: how much of x there is in y (see there), and how much of v stays.
        eps: added to the root, keeps the division finite.
        weight_decay: how fast z shrinks towards 0, by y, in units of the learning rate a step.
        warmup_steps, r, weight_lr_power, maximize, foreach, train_mode: as in `SGDScheduleFree`.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.
        RuntimeError: in `step`, after `eval()`.

    State: "step", "weight_sum" and "lr_max" (numbers), "z", "exp_avg_sq" (v).
    """

    _checks = {
        "lr": non_negative,
        "betas": averaging_betas,
        "eps": non_negative,
        "weight_decay": non_negative,
        "warmup_steps": whole,
        "r": non_negative,
        "weight_lr_power": non_negative,
        "maximize": flag,
        "train_mode": flag,
    }
    _rules = ("adamw_schedule_free",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "warmup_steps": warmup_steps,
                "r": r,
                "weight_lr_power": weight_lr_power,
                "maximize": maximize,
                "train_mode": True,
            },
        )

    def _beta(self, group: Mapping[str, Any]) -> float:
        return float(group["betas"][0])

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("adamw_schedule_free")
