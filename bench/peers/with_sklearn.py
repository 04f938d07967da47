"""scikit-learn's optimizers, those behind its MLPClassifier."""

from __future__ import annotations

from .extras import require
from .peer import Running, Work


def start(work: Work) -> Running:
    """`update_params(params, grads)` of the private `SGDOptimizer` or `AdamOptimizer`: NumPy, new arrays throughout.

    Plain SGD is its momentum of 0, as in MLPClassifier. Adam's epsilon is not scaled by the correction of the bias.
    """
    optimizers = require("sklearn.neural_network._stochastic_optimizers")
    hyper = work.hyper
    if work.rule == "adam":
        beta1, beta2 = hyper["betas"]
        optimizer = optimizers.AdamOptimizer(work.params, hyper["lr"], beta1, beta2, hyper["eps"])
    else:
        optimizer = optimizers.SGDOptimizer(work.params, hyper["lr"], momentum=hyper["momentum"], nesterov=False)
    return Running.step_by_step(lambda: optimizer.update_params(work.params, work.grads), lambda: work.params)
