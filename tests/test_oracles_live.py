"""Beside each optimizer's oracle, where it is installed: random configurations, and what only the oracle can show."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import CASES
from hypothesis import HealthCheck, given, settings
from oracles import ORACLES
from ravine import optim

NEEDS = {"torch": ["torch"], "optax": ["optax"], "schedulefree": ["torch", "schedulefree"], "paper": []}
RTOL = {"torch": 1e-12, "optax": 1e-10, "schedulefree": 1e-10, "paper": 1e-10}

RATES = st.sampled_from([0.0, 0.3, 0.9, 0.99, 0.999])
ABOVE_ZERO = st.sampled_from([0.3, 0.9, 0.99, 0.999])
SMALL = st.sampled_from([0.0, 1e-10, 1e-8, 1e-3, 0.1, 0.5])
BOOL = st.booleans()
WARMUPS = st.sampled_from([0, 1, 5, 100])
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
    "rho": RATES,
    "centered": BOOL,
    "betas": st.tuples(RATES, RATES),
    "amsgrad": BOOL,
    "decoupled_weight_decay": BOOL,
    "momentum_decay": SMALL,
    "etas": st.sampled_from([(0.5, 1.2), (0.1, 3.0)]),
    "step_sizes": st.sampled_from([(1e-6, 50), (1e-3, 0.1), (0, 0)]),
    "lambd": SMALL,
    "t0": st.sampled_from([0.0, 3.0, 1e6]),
    "use_clipping": BOOL,
    "alpha_warmup": WARMUPS,
    "beta3_warmup": WARMUPS,
    "warmup_steps": WARMUPS,
    "r": st.sampled_from([0.0, 0.5, 2.0]),
    "trust_coefficient": st.sampled_from([0.0, 1e-3, 0.1]),
    "beta2_decay": st.sampled_from([0.0, -0.5, -1.0]),
    "d": st.sampled_from([1.0, 3.0]),
    "beta3": st.sampled_from([None, 0.0, 0.9]),
    "d0": st.sampled_from([1e-6, 1e-2]),
    "d_coef": st.sampled_from([0.5, 1.0]),
    "safeguard_warmup": BOOL,
    "tolerance": st.sampled_from([1e-9, 1e-2, 10.0]),
    "ns_steps": st.integers(0, 6),
    "adjust_lr_fn": st.sampled_from([None, "original", "match_rms_adamw"]),
    "weight_lr_power": st.sampled_from([0.0, 1.0, 2.0]),
}
CHOICES_OF = {
    "Adan": {"betas": st.tuples(RATES, RATES, RATES), "eps_root": SMALL},
    "AdEMAMix": {
        "betas": st.sampled_from([(0.3, 0.9, 0.99), (0.9, 0.999, 0.9999), (0.9, 0.3, 0.9)]),
        "eps_root": SMALL,
    },
    # With beta1 = 0 there is nothing but rounding in g - m.
    "AdaBelief": {"betas": st.tuples(ABOVE_ZERO, RATES), "eps_root": SMALL},
    "SGDScheduleFree": {"momentum": ABOVE_ZERO},
    "Adafactor": {"eps": st.tuples(st.sampled_from([None, 0.0, 1e-3]), st.sampled_from([0.0, 1e-3]))},
    # Without a learning rate optax divides 0 by 0.
    "Prodigy": {"lr": st.sampled_from([1e-2, 1.0])},
    "Muon": {"momentum": RATES, "eps": st.sampled_from([1e-7, 1e-2])},
    "SparseAdam": {"lr": st.sampled_from([1e-4, 1e-2, 0.3])},  # torch refuses 0
    "AdamWScheduleFree": {"betas": st.tuples(ABOVE_ZERO, RATES)},
}


def random_configuration(case, data):
    choices = {**CHOICES, **CHOICES_OF.get(case.name, {})}
    names = [name for name in case.optimizer._checks if name in choices and name not in case.beyond_oracle]
    config = {name: data.draw(choices[name], label=name) for name in names}
    if case.name == "AdamW":
        del config["decoupled_weight_decay"]
    if case.name == "SGD" and (config["momentum"] == 0 or config["dampening"] != 0):
        config["nesterov"] = False
    return config


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_random_configurations(case, data):
    for module in NEEDS[case.oracle]:
        pytest.importorskip(module)
    config = random_configuration(case, data)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000), label="seed"))
    p, *grads = map(case.shaped, rng.standard_normal((9, 5)))
    lrs = [config["lr"] * 0.9**t for t in range(len(grads))]
    theirs = ORACLES[case.oracle](case.name, config, p, lrs, grads)
    optimizer = case.optimizer([p], **config)
    for lr, g, (expected, _) in zip(lrs, grads, theirs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step([g])
        if config.get("centered") and not np.isfinite(expected).all():
            return  # torch does not clamp the variance at 0
        rtol = 1e-9 if config.get("centered") else RTOL[case.oracle]
        np.testing.assert_allclose(p, expected, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "config"),
    [("SGDScheduleFree", {"lr": 0.1, "warmup_steps": 3}), ("AdamWScheduleFree", {"lr": 0.1, "weight_decay": 0.1})],
)
def test_schedule_free_turns_as_the_package_does(name, config):
    torch, schedulefree = pytest.importorskip("torch"), pytest.importorskip("schedulefree")
    rng = np.random.default_rng(0)
    p = rng.standard_normal(6)
    q = torch.nn.Parameter(torch.from_numpy(p.copy()))
    ours, theirs = getattr(optim, name)([p], **config), getattr(schedulefree, name)([q], foreach=False, **config)
    theirs.train()
    for t in range(12):
        g = rng.standard_normal(6)
        q.grad = torch.from_numpy(g.copy())
        ours.step([g])
        theirs.step()
        if t % 4 == 2:
            for turn in ("eval", "train"):
                getattr(ours, turn)()
                getattr(theirs, turn)()
                np.testing.assert_allclose(p, q.detach().numpy(), rtol=1e-12)


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
