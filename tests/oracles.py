"""Who says what an optimizer must compute: torch, optax, schedulefree, or a paper's algorithm as it stands there.

An oracle takes the optimizer's name, its configuration, a parameter, and for each step a learning rate and a gradient,
all in float64. It returns the parameter and the states, under our names, after each of the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Steps = Iterator[tuple[Array, dict[str, Any]]]


def torch_steps(name: str, config: dict[str, Any], start: Array, lrs: Sequence[float], grads: Sequence[Array]) -> Steps:
    import torch

    # The numbers that NAdam and ASGD carry from step to step are kept in torch's default type.
    before = torch.get_default_dtype()
    p = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = getattr(torch.optim, name)([p], foreach=False, **config)
    for lr, g in zip(lrs, grads, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = torch.from_numpy(g.copy())
        torch.set_default_dtype(torch.float64)
        try:
            optimizer.step()
        finally:
            torch.set_default_dtype(before)
        state = {key: value.numpy().copy() for key, value in optimizer.state[p].items() if value is not None}
        state.pop("step", None)
        yield p.detach().numpy().copy(), state


def torch_closure_steps(
    name: str,
    config: dict[str, Any],
    loss: Callable[[Array], tuple[float, Array]],
    start: Array,
    steps: int,
) -> Iterator[Array]:
    """Yield evaluations, iterations and the elements of the parameter after each step, in one row."""
    import torch

    p = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = getattr(torch.optim, name)([p], **config)

    def closure() -> torch.Tensor:
        value, gradient = loss(p.detach().numpy())
        p.grad = torch.from_numpy(gradient)
        return torch.tensor(value, dtype=torch.float64)

    for _ in range(steps):
        optimizer.step(closure)
        state = optimizer.state[p]
        yield np.array([state["func_evals"], state["n_iter"], *p.tolist()])


def schedulefree_steps(
    name: str, config: dict[str, Any], start: Array, lrs: Sequence[float], grads: Sequence[Array]
) -> Steps:
    """The parameter is that of training, y."""
    import schedulefree
    import torch

    config = dict(config)
    sign = -1 if config.pop("maximize", False) else 1
    p = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = getattr(schedulefree, name)([p], foreach=False, **config)
    optimizer.train()
    (group,) = optimizer.param_groups
    for lr, g in zip(lrs, grads, strict=True):
        group["lr"] = lr
        p.grad = torch.from_numpy(sign * g)
        optimizer.step()
        state = {key: value.numpy().copy() for key, value in optimizer.state[p].items()}
        yield p.detach().numpy().copy(), {**state, **{key: group[key] for key in ("weight_sum", "lr_max")}}


def optax_steps(name: str, config: dict[str, Any], start: Array, lrs: Sequence[float], grads: Sequence[Array]) -> Steps:
    """Weight decay, where the optimizer of optax has none, is written down here."""
    import jax
    import optax

    config = dict(config)
    sign = -1 if config.pop("maximize", False) else 1
    coupled = decoupled = 0.0
    if name in ("AdaBelief", "Yogi", "ADOPT"):
        decay = config.pop("weight_decay", 0.0)
        coupled, decoupled = (0.0, decay) if config.pop("decoupled_weight_decay", False) else (decay, 0.0)
    with jax.enable_x64(True):
        rates = jax.numpy.asarray(lrs)
        rule, states = _optax_rule(name, config, lambda count: rates[count])
        p = jax.numpy.asarray(start)
        state = rule.init(p)
        for lr, g in zip(lrs, grads, strict=True):
            gradient = jax.numpy.asarray(sign * g) + coupled * p
            updates, state = rule.update(gradient, state, p)
            p = optax.apply_updates(p, updates) - lr * decoupled * p
            yield np.array(p), {ours: np.array(getattr(state[0], theirs)) for ours, theirs in states.items()}


def _optax_rule(name: str, config: dict[str, Any], lr: Callable[[Any], Any]) -> tuple[Any, dict[str, str]]:
    """Return the transformation, and how it calls our states."""
    import optax
    from jax import numpy as jnp
    from optax import contrib

    config = {key: value for key, value in config.items() if key != "lr"}
    config |= {f"b{i}": beta for i, beta in enumerate(config.pop("betas", ()), 1)}
    moments = {"exp_avg": "mu", "exp_avg_sq": "nu"}
    if name == "Lion":
        return optax.lion(lr, **config), {"exp_avg": "mu"}
    if name == "AdaBelief":
        return optax.adabelief(lr, **config), {"exp_avg": "mu", "exp_avg_var": "nu"}
    if name == "Yogi":
        return optax.chain(optax.scale_by_yogi(**config), optax.scale_by_learning_rate(lr)), moments
    if name == "ADOPT":
        return contrib.adopt(lr, **config), moments
    assert name == "AdEMAMix", name
    b1, b3, alpha = config.get("b1", 0.9), config.pop("b3", 0.9999), config.pop("alpha", 5.0)
    alpha_warmup, beta3_warmup = config.pop("alpha_warmup", 0), config.pop("beta3_warmup", 0)

    def alpha_at(count: Any) -> Any:
        return alpha * jnp.minimum(1.0, (count + 1.0) / alpha_warmup)

    def b3_at(count: Any) -> Any:
        # Equation (3) of the paper, f_inv of the part between f(beta_start) and f(beta_end).
        part = jnp.minimum(1.0, (count + 1.0) / beta3_warmup)
        log1, log3 = jnp.log(b1), jnp.log(b3)
        return jnp.exp(log1 * log3 / ((1 - part) * log3 + part * log1))

    rule = contrib.ademamix(lr, b3=b3_at if beta3_warmup else b3, alpha=alpha_at if alpha_warmup else alpha, **config)
    return rule, {"exp_avg": "m1", "exp_avg_slow": "m2", "exp_avg_sq": "nu"}


def paper_steps(name: str, config: dict[str, Any], start: Array, lrs: Sequence[float], grads: Sequence[Array]) -> Steps:
    assert name == "Adan", name
    sign = -1 if config.get("maximize", False) else 1
    return adan_steps(config, start, lrs, [sign * g for g in grads])


def adan_steps(config: dict[str, Any], start: Array, lrs: Sequence[float], grads: Sequence[Array]) -> Steps:
    """Xie et al. 2022, algorithm 1, in its own notation; bias and decay are handled as in the authors' program."""
    beta1, beta2, beta3 = (1 - beta for beta in config.get("betas", (0.98, 0.92, 0.99)))
    eps, eps_root, decay = config.get("eps", 1e-8), config.get("eps_root", 0.0), config.get("weight_decay", 0.0)
    theta = start.copy()
    m, v, n = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    previous = grads[0]
    for k, (lr, g) in enumerate(zip(lrs, grads, strict=True), 1):
        m = (1 - beta1) * m + beta1 * g
        v = (1 - beta2) * v + beta2 * (g - previous)
        n = (1 - beta3) * n + beta3 * (g + (1 - beta2) * (g - previous)) ** 2
        m_hat, v_hat, n_hat = m / (1 - (1 - beta1) ** k), v / (1 - (1 - beta2) ** k), n / (1 - (1 - beta3) ** k)
        eta = lr / (np.sqrt(n_hat + eps_root) + eps)
        theta = (1 - lr * decay) * theta - eta * (m_hat + (1 - beta2) * v_hat)
        previous = g
        yield theta.copy(), {"exp_avg": m, "exp_avg_diff": v, "exp_avg_sq": n, "previous_grad": g}


ORACLES: dict[str, Callable[..., Steps]] = {
    "torch": torch_steps,
    "optax": optax_steps,
    "schedulefree": schedulefree_steps,
    "paper": paper_steps,
}
