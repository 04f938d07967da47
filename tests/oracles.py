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


def torch_gradient(name: str, g: Array) -> Any:
    """Return a copy as the optimizer takes it: SparseAdam asks for a sparse one, of all rows that are not 0."""
    import torch

    gradient = torch.from_numpy(g.copy())
    return gradient.to_sparse(1) if name == "SparseAdam" else gradient


def torch_steps(name: str, config: dict[str, Any], start: Array, lrs: Sequence[float], grads: Sequence[Array]) -> Steps:
    import torch

    # The numbers that NAdam and ASGD carry from step to step are kept in torch's default type.
    before = torch.get_default_dtype()
    bfloat16 = torch.Tensor.bfloat16
    p = torch.nn.Parameter(torch.from_numpy(start.copy()))
    kind = {} if name in ("Muon", "SparseAdam") else {"foreach": False}
    optimizer = getattr(torch.optim, name)([p], **kind, **config)
    for lr, g in zip(lrs, grads, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = torch_gradient(name, g)
        torch.set_default_dtype(torch.float64)
        torch.Tensor.bfloat16 = torch.Tensor.clone  # Muon's products, which torch has in 16 bits
        try:
            optimizer.step()
        finally:
            torch.set_default_dtype(before)
            torch.Tensor.bfloat16 = bfloat16
        states = {key: value for key, value in optimizer.state[p].items() if key != "step" and value is not None}
        yield p.detach().numpy().copy(), {key: value.numpy().copy() for key, value in states.items()}


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
        rule, states = optax_rule(name, config, lambda count: rates[count])
        p = jax.numpy.asarray(start)
        state = rule.init(p)
        for lr, g in zip(lrs, grads, strict=True):
            gradient = jax.numpy.asarray(sign * g) + coupled * p
            updates, state = rule.update(gradient, state, p)
            p = optax.apply_updates(p, updates) - lr * decoupled * p
            yield np.array(p), states(state)


def optax_rule(
    name: str, config: dict[str, Any], lr: Callable[[Any], Any]
) -> tuple[Any, Callable[[Any], dict[str, Any]]]:
    """Return the transformation, and a function that finds our states in its."""
    import optax
    from jax import numpy as jnp
    from optax import contrib

    config = {key: value for key, value in config.items() if key != "lr"}
    config |= {f"b{i}": beta for i, beta in enumerate(config.pop("betas", ()), 1)}
    if name == "Prodigy":
        return _prodigy(config, lr)
    moments = _named(exp_avg="mu", exp_avg_sq="nu")
    rules: dict[str, tuple[Callable[..., Any], Callable[[Any], dict[str, Any]]]] = {
        "Lion": (optax.lion, _named(exp_avg="mu")),
        "AdaBelief": (optax.adabelief, _named(exp_avg="mu", exp_avg_var="nu")),
        "Yogi": (lambda lr, **c: optax.chain(optax.scale_by_yogi(**c), optax.scale_by_learning_rate(lr)), moments),
        "ADOPT": (contrib.adopt, moments),
        "LAMB": (optax.lamb, moments),
        # optax adds its velocity, ours is subtracted.
        "LARS": (optax.lars, lambda state: {"momentum_buffer": -np.array(state[3].trace)}),
    }
    if name in rules:
        make, states = rules[name]
        return make(lr, **config), states
    assert name == "AdEMAMix", f"add {name} to optax_rule in tests/oracles.py"
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
    return rule, _named(exp_avg="m1", exp_avg_slow="m2", exp_avg_sq="nu")


def _prodigy(config: dict[str, Any], lr: Callable[[Any], Any]) -> tuple[Any, Callable[[Any], dict[str, Any]]]:
    from optax import contrib

    betas = (config.pop("b1", 0.9), config.pop("b2", 0.999))
    estimates = {"d0": "estim_lr0", "d_coef": "estim_lr_coef"}
    config = {estimates.get(key, key): value for key, value in config.items()}
    arrays = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq", "s": "grad_sum", "p0": "params0"}
    names = {**arrays, "d": "estim_lr", "d_numerator": "numerator_weighted"}
    rule = contrib.prodigy(lr, betas=betas, **config)
    return rule, lambda state: {ours: np.array(getattr(state, theirs)) for ours, theirs in names.items()}


def _named(**names: str) -> Callable[[Any], dict[str, Any]]:
    return lambda state: {ours: np.array(getattr(state[0], theirs)) for ours, theirs in names.items()}


def paper_steps(name: str, config: dict[str, Any], start: Array, lrs: Sequence[float], grads: Sequence[Array]) -> Steps:
    sign = -1 if config.get("maximize", False) else 1
    return {"Adan": adan_steps, "SWATS": swats_steps}[name](config, start, lrs, [sign * g for g in grads])


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


def swats_steps(config: dict[str, Any], start: Array, lrs: Sequence[float], grads: Sequence[Array]) -> Steps:
    """Keskar & Socher 2017, algorithm 1, in its own notation.

    Learning rates that change scale Lambda after the switch as they scaled Adam's before. A gamma counts where p
    descends, and sums of weights stand for 1 - beta2^k, which they are where every step does.
    """
    beta1, beta2 = config.get("betas", (0.9, 0.999))
    eps, tolerance, decay = config.get("eps", 1e-9), config.get("tolerance", 1e-9), config.get("weight_decay", 0.0)
    w = start.copy()
    m, a, v = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    lambda_, weight, scale = 0.0, 0.0, None
    for k, (alpha, gradient) in enumerate(zip(lrs, grads, strict=True), 1):
        g = gradient + decay * w
        if scale is not None:
            v = beta1 * v + g
            w = w - (1 - beta1) * scale * alpha * v
            yield w.copy(), {"momentum_buffer": v}
            continue
        m = beta1 * m + (1 - beta1) * g
        a = beta2 * a + (1 - beta2) * g**2
        p = -alpha * (m / (1 - beta1**k)) / (np.sqrt(a / (1 - beta2**k)) + eps)
        w = w + p
        if p @ g < 0:
            gamma = (p @ p) / -(p @ g)
            lambda_ = beta2 * lambda_ + (1 - beta2) * gamma
            weight, before = beta2 * weight + (1 - beta2), weight
            if before > 0 and abs(lambda_ / weight - gamma) < tolerance:
                scale = lambda_ / weight / alpha
        adam = {"exp_avg": m, "exp_avg_sq": a, "gamma_avg": lambda_, "gamma_weight": weight, "rate": 0.0}
        yield w.copy(), adam if scale is None else {"momentum_buffer": v}


ORACLES: dict[str, Callable[..., Steps]] = {
    "torch": torch_steps,
    "optax": optax_steps,
    "schedulefree": schedulefree_steps,
    "paper": paper_steps,
}
