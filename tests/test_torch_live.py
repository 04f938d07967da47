"""Beside torch and optax, where they are installed: signatures, random configurations, models, states."""

from __future__ import annotations

import inspect

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import CASES
from hypothesis import HealthCheck, given, settings
from ravine import optim

torch = pytest.importorskip("torch")

# What torch has for choosing among its implementations.
TORCH_ONLY = {"foreach", "fused", "capturable", "differentiable"}

RATES = st.sampled_from([0.0, 0.3, 0.9, 0.99, 0.999])
SMALL = st.sampled_from([0.0, 1e-10, 1e-8, 1e-3, 0.1, 0.5])
BOOL = st.booleans()
CHOICES = {
    "lr": st.sampled_from([0.0, 1e-4, 1e-2, 0.3]),
    "momentum": RATES,
    "dampening": st.sampled_from([0.0, 0.5, 1.0]),
    "weight_decay": SMALL,
    "nesterov": BOOL,
    "maximize": BOOL,
    "lr_decay": SMALL,
    "initial_accumulator_value": SMALL,
    "eps": st.sampled_from([1e-10, 1e-8, 1e-3]),
    "alpha": RATES,
    "centered": BOOL,
    "betas": st.tuples(RATES, RATES),
    "amsgrad": BOOL,
    "decoupled_weight_decay": BOOL,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_arguments_and_defaults_are_torchs(case):
    theirs = inspect.signature(getattr(torch.optim, case.name).__init__).parameters
    ours = inspect.signature(case.optimizer.__init__).parameters
    for name, parameter in theirs.items():
        if name not in TORCH_ONLY | {"self", "params"}:
            assert ours[name].default == parameter.default, name
    positional = [n for n, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD and n not in TORCH_ONLY]
    same = [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD and n not in TORCH_ONLY]
    assert same == [name for name in positional if name in same]
    assert set(positional) <= set(ours)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_random_configurations(case, data):
    names = [name for name in case.optimizer._checks if name in CHOICES]
    config = {name: data.draw(CHOICES[name], label=name) for name in names}
    if case.name == "AdamW":
        del config["decoupled_weight_decay"]
    if config.get("nesterov") and (config["momentum"] == 0 or config["dampening"] != 0):
        config["nesterov"] = False
    rng = np.random.default_rng(data.draw(st.integers(0, 1000), label="seed"))
    ours = [rng.standard_normal((3, 2)), rng.standard_normal(4)]
    theirs = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in ours]
    optimizer = case.optimizer(ours, **config)
    oracle = getattr(torch.optim, case.name)(theirs, foreach=False, **config)
    for t in range(8):
        grads = [rng.standard_normal(p.shape) if rng.random() < 0.8 else None for p in ours]
        factor = 0.9**t
        for group, other in zip(optimizer.param_groups, oracle.param_groups, strict=True):
            group["lr"] = other["lr"] = config["lr"] * factor
        for q, g in zip(theirs, grads, strict=True):
            q.grad = None if g is None else torch.from_numpy(g.copy())
        optimizer.step(grads)
        oracle.step()
        for p, q in zip(ours, theirs, strict=True):
            expected = q.detach().numpy()
            if config.get("centered") and not np.isfinite(expected).all():
                return  # torch does not clamp the variance at 0
            np.testing.assert_allclose(p, expected, rtol=1e-9 if config.get("centered") else 1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_torch_model_is_updated_through_its_own_memory(case):
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    x, y = torch.randn(16, 3), torch.randn(16, 1)
    optimizers = [case.optimizer(models[0].parameters()), getattr(torch.optim, case.name)(models[1].parameters())]
    for _ in range(5):
        for model, optimizer in zip(models, optimizers, strict=True):

            def closure(model=model, optimizer=optimizer):
                optimizer.zero_grad()
                loss = ((model(x) - y) ** 2).mean()
                loss.backward()
                return loss

            assert optimizer.step(closure) > 0
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_torchs_state_dict_loads(case):
    rng = np.random.default_rng(0)
    p = rng.standard_normal(5)
    grads = rng.standard_normal((6, 5))
    config = {"momentum": 0.9} if case.name in ("SGD", "RMSprop") else {}
    q = torch.nn.Parameter(torch.from_numpy(p.copy()))
    oracle = getattr(torch.optim, case.name)([q], **config)
    for g in grads[:3]:
        q.grad = torch.from_numpy(g.copy())
        oracle.step()
    p[:] = q.detach().numpy()
    optimizer = case.optimizer([p])
    optimizer.load_state_dict(oracle.state_dict())
    for g in grads[3:]:
        q.grad = torch.from_numpy(g.copy())
        oracle.step()
        optimizer.step([g])
    np.testing.assert_allclose(p, q.detach().numpy(), rtol=1e-12)


def test_a_replaced_tensor_is_noticed():
    p = torch.nn.Parameter(torch.zeros(3))
    optimizer = optim.SGD([p], lr=1)
    p.grad = torch.ones(3)
    optimizer.step()
    assert p.tolist() == [-1, -1, -1]
    p.data = torch.zeros(3)
    with pytest.raises(ValueError, match=r"SGD: the data of params\[0\] has been replaced"):
        optimizer.step()


def test_torch_tensors_as_gradients():
    w = np.zeros(3, np.float32)
    optim.SGD([w], lr=1).step([torch.ones(3)])
    assert w.tolist() == [-1, -1, -1]
    with pytest.raises(TypeError, match=r"cannot see the memory of torch.Tensor"):
        optim.SGD([w]).step([torch.ones(3, dtype=torch.bfloat16)])


class TestOptax:
    """eps under the root, which torch does not have."""

    @pytest.mark.parametrize(
        ("make", "ours", "config"),
        [
            (
                lambda optax: optax.adam(0.05, b1=0.9, b2=0.99, eps=1e-3, eps_root=1e-2),
                optim.Adam,
                {"lr": 0.05, "betas": (0.9, 0.99), "eps": 1e-3, "eps_root": 1e-2},
            ),
            (
                lambda optax: optax.rmsprop(0.05, decay=0.9, eps=1e-2),
                optim.RMSprop,
                {"lr": 0.05, "alpha": 0.9, "eps": 1e-2, "eps_inside_sqrt": True},
            ),
            (
                lambda optax: optax.rmsprop(0.05, decay=0.9, eps=1e-2, centered=True),
                optim.RMSprop,
                {"lr": 0.05, "alpha": 0.9, "eps": 1e-2, "eps_inside_sqrt": True, "centered": True},
            ),
        ],
        ids=["adam", "rmsprop", "rmsprop_centered"],
    )
    def test_eps_under_the_root(self, make, ours, config):
        optax = pytest.importorskip("optax")
        jax = pytest.importorskip("jax")
        rng = np.random.default_rng(0)
        p = rng.standard_normal(7)
        grads = rng.standard_normal((50, 7))
        with jax.enable_x64(True):
            theirs = jax.numpy.asarray(p.copy())
            rule = make(optax)
            state = rule.init(theirs)
            optimizer = ours([p], **config)
            for g in grads:
                gradient = jax.numpy.asarray(g)
                updates, state = rule.update(gradient, state, theirs)
                theirs = optax.apply_updates(theirs, updates)
                optimizer.step([gradient])
            np.testing.assert_allclose(p, np.asarray(theirs), rtol=1e-12)
