"""SWATS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ravine._hyper import flag, non_negative, pair_of_betas
from ravine.optim._modifiers import no_modifiers
from ravine.optim._rule_optimizer import Rule, RuleOptimizer
from ravine.optim._state import new_like
from ravine.optim._step_options import StepOptions


class SWATS(RuleOptimizer):
    """Adam first, then gradient descent with momentum, from when its learning rate is known: SWATS.

        Adam:  u = lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps);   p <- p - u
               gamma = <u, u> / <u, g>                                           where <u, g> is above 0
               c <- beta2 c + (1 - beta2) gamma;   w <- beta2 w + 1 - beta2
               when |c / w - gamma| < tolerance: sgd_scale = c / w / lr, and from then on
        SGD:   b <- beta1 b + g;   p <- p - lr sgd_scale (1 - beta1) b

    gamma is the learning rate with which gradient descent would go as far along Adam's step. The sums go over all
    parameters of a group, which decides for itself. A schedule goes on working after the change, since sgd_scale is a
    factor of lr. A group's "sgd_scale" tells which phase it is in: 0 means Adam.

    Keskar & Socher 2017, "Improving Generalization Performance by Switching from Adam to SGD", algorithm 1.

    Args:
        params: see `Optimizer`.
        lr: learning rate of Adam.
        betas: decay rates of the running means of g and g^2; beta1 is the momentum afterwards, and beta2 that of gamma.
        eps: added to the root, keeps the division finite.
        weight_decay: L2 penalty, added to the gradient as weight_decay p.
        tolerance: how close gamma has to come to its mean, in units of a learning rate.
        maximize: climb instead of descend.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it.

    State: "step"; at first "gamma_avg" (c), "gamma_weight" (w) and "rate" (numbers), "exp_avg" (m), "exp_avg_sq" (v);
    later "momentum_buffer" (b).
    """

    _checks = {
        "lr": non_negative,
        "betas": pair_of_betas,
        "eps": non_negative,
        "weight_decay": non_negative,
        "tolerance": non_negative,
        "maximize": flag,
        "sgd_scale": non_negative,
    }
    _rules = ("swats", "swats_descent")
    _switches = ("sgd_scale",)
    _modifiers = no_modifiers("it measures its learning rate by the steps that it makes")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-9,
        weight_decay: float = 0.0,
        tolerance: float = 1e-9,
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
                "tolerance": tolerance,
                "maximize": maximize,
                "sgd_scale": 0.0,
            },
        )

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        return Rule("swats" if group["sgd_scale"] == 0 else "swats_descent")

    def _step(
        self, grads: Any = None, closure: Callable[[], Any] | None = None, options: StepOptions | None = None
    ) -> Any:
        self._change_over()  # where Ctrl-C came before it was done
        result = super()._step(grads, closure, options)
        self._change_over()
        return result

    def _step_param(self, param: Any, grad: Any, options: StepOptions) -> None:
        if self._plan is None or not self._plan.updated:
            self._change_over()
        super()._step_param(param, grad, options)

    def _end_step(self) -> None:
        super()._end_step()
        self._change_over()

    def _change_over(self) -> None:
        """Give the groups for which Adam has found a learning rate to gradient descent."""
        for index in range(self._parameters.group_count):
            records = self._parameters.of_group(index)
            rate = records[0].carried.get("rate", 0.0)
            if rate > 0:
                group = self._sound_groups()[index]
                self._drop_plan()
                if group["sgd_scale"] == 0:
                    for record in records:  # Adam's means are of no use any more
                        record.states = {"momentum_buffer": new_like(record.array, 0.0, 1, record.array.shape)}
                    group["sgd_scale"] = float(rate) / self._checked(group, index)["lr"]
                for record in reversed(records):  # the first is the last: it tells whether all is done
                    record.carried = {}
