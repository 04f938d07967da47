"""autograd's optimizers, which drive the loop themselves."""

from __future__ import annotations

from .extras import require
from .peer import Running, Work


def start(work: Work) -> Running:
    """`autograd.misc.optimizers.sgd` or `adam` with a function that returns the gradients at hand.

    They ask for gradients and do all steps in one call, so that this is how they are timed: k steps are a call with
    `num_iters=k`. A step brings the parameters out of one flat array and the gradients into another, as for everyone
    whose parameters are several, and computes in float64. State begins anew with each call. Momentum takes the part
    1 − μ of a gradient, made up for by the learning rate. Its rmsprop is another rule, whose average begins at 1.
    """
    optimizers = require("autograd.misc.optimizers")
    hyper, params = work.hyper, work.params

    def steps(count: int) -> None:
        nonlocal params
        if work.rule == "adam":
            beta1, beta2 = hyper["betas"]
            options = {"step_size": hyper["lr"], "b1": beta1, "b2": beta2, "eps": hyper["eps"]}
            optimize = optimizers.adam
        else:
            mass = hyper["momentum"]
            options = {"step_size": hyper["lr"] / (1 - mass), "mass": mass}
            optimize = optimizers.sgd
        params = optimize(lambda params, i: work.grads, params, num_iters=count, **options)  # noqa: ARG005

    return Running(steps, lambda: params)
