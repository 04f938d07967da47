"""optax, compiled by JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .extras import require
from .peer import Running, Work


def start(work: Work) -> Running:
    """`jit(update)` over the list of all parameters, `optax.apply_updates` included; parameters and state are donated.

    JAX has arrays of its own, so the parameters are copied at the start. The steps wait for the last of their results
    once, at the end.
    """
    jax, optax = require("jax"), require("optax")
    transformation = _transformation(optax, work.rule, work.hyper)

    def update(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = transformation.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    step = jax.jit(update, donate_argnums=(0, 1))
    params, grads = ([jax.device_put(array.copy()) for array in arrays] for arrays in (work.params, work.grads))
    state = transformation.init(params)

    def steps(count: int) -> None:
        nonlocal params, state
        for _ in range(count):
            params, state = step(params, state, grads)
        jax.block_until_ready((params, state))

    return Running(steps, lambda: [np.asarray(param) for param in params])


def _transformation(optax: Any, rule: str, hyper: Mapping[str, Any]) -> Any:
    """Return optax's name for a rule, with epsilon and the first state where torch has them."""
    lr = hyper["lr"]
    if rule == "sgd":
        return optax.sgd(lr)
    if rule == "momentum":
        return optax.sgd(lr, momentum=hyper["momentum"])
    if rule == "adagrad":  # its epsilon is under the root, which at 1e-10 would be seen
        return optax.adagrad(lr, initial_accumulator_value=0.0, eps=1e-20)
    if rule == "rmsprop":
        return optax.rmsprop(lr, decay=hyper["alpha"], eps=hyper["eps"], eps_in_sqrt=False)
    beta1, beta2 = hyper["betas"]
    if rule == "adam":
        return optax.adam(lr, b1=beta1, b2=beta2, eps=hyper["eps"])
    return optax.adamw(lr, b1=beta1, b2=beta2, eps=hyper["eps"], weight_decay=hyper["weight_decay"])
