"""What does not belong in groups and attributes: refused by name at the next call, and nothing changes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from cases import CASES
from ravine import nn, optim
from ravine.data import minibatches
from ravine.nn import functional
from ravine.optim.lr_scheduler import (
    ChainedScheduler,
    CyclicLR,
    ExponentialLR,
    HyperparameterScheduler,
    LambdaLR,
    MultiplicativeLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
    WarmupLR,
)

HUGE = 10**400
X = np.arange(12, dtype=np.float32).reshape(4, 3)

OPTIMIZERS = [optim.SGD, optim.Adam, optim.AdamWScheduleFree, optim.Prodigy, optim.SWATS, optim.LBFGS]


def stepped(kind):
    p = np.ones(3)
    optimizer = kind([p])
    step(optimizer)
    return optimizer, p


def step(optimizer):
    grads = [np.ones(3)]
    optimizer.step((lambda: (1.0, grads)) if isinstance(optimizer, optim.LBFGS) else grads)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "stepped"])
@pytest.mark.parametrize(
    ("groups", "error", "text"),
    [
        ([None], TypeError, r"param_groups\[0\] is NoneType; expected a dict"),
        ([{}], ValueError, "the group has no lr, "),
        ([{"lr": 1}, {"lr": 1}], ValueError, "param_groups has 2 groups, the optimizer 1"),
    ],
)
def test_what_are_no_groups(kind, is_new, groups, error, text):
    optimizer, p = stepped(kind)
    if is_new:
        p = np.ones(3)
        optimizer = kind([p])
    kept, before = optimizer.param_groups, p.copy()
    states = copy.deepcopy(optimizer.state_dict())
    optimizer.param_groups = groups
    with pytest.raises(error, match=f"{kind.__name__}: {text}"):
        step(optimizer)
    optimizer.param_groups = kept
    np.testing.assert_array_equal(p, before)
    np.testing.assert_equal(optimizer.state_dict(), states)
    step(optimizer)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("groups", [None, 3, [None], []])
def test_nothing_is_loaded_or_added_where_there_are_no_groups(kind, groups):
    optimizer, _ = stepped(kind)
    saved = optimizer.state_dict()
    optimizer.param_groups = groups
    with pytest.raises(ValueError, match=r"(?s)load_state_dict: .*: param_groups"):
        optimizer.load_state_dict(saved)
    if kind is not optim.LBFGS:  # which takes one group only
        with pytest.raises((TypeError, ValueError), match=f"{kind.__name__}: param_groups"):
            optimizer.add_param_group({"params": [np.ones(2)]})


@pytest.mark.parametrize("mode", [None, "", [], 0.0])
def test_a_train_mode_that_is_none(mode):
    optimizer, p = stepped(optim.SGDScheduleFree)
    optimizer.param_groups[0]["train_mode"] = mode
    before = p.copy()
    for act in (lambda: step(optimizer), optimizer.train, optimizer.eval):
        with pytest.raises(TypeError, match=r"SGDScheduleFree: train_mode=.*; expected True or False"):
            act()
    np.testing.assert_array_equal(p, before)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(optim.AdEMAMix, "alpha_warmup"), (optim.AdEMAMix, "beta3_warmup"), (optim.SGDScheduleFree, "warmup_steps")],
)
def test_counts_end_somewhere(kind, name):
    text = rf"{kind.__name__}: {name}=1000\d*\.\.\. is too large; expected a whole number, 0 or more, up to 2\^53"
    with pytest.raises(ValueError, match=text):
        kind([np.ones(3)], **{name: HUGE})
    optimizer, p = stepped(kind)
    before = p.copy()
    optimizer.param_groups[0][name] = HUGE
    with pytest.raises(ValueError, match=text):
        step(optimizer)
    optimizer.param_groups[0][name] = 2**53 + 1
    with pytest.raises(ValueError, match=rf"{name}=9007199254740993 is too large"):
        step(optimizer)
    np.testing.assert_array_equal(p, before)
    optimizer.param_groups[0][name] = 2**53
    step(optimizer)


def test_an_array_is_no_choice():
    with pytest.raises(ValueError, match=r"line_search_fn=array\(\[1., 1.\]\); expected None or 'strong_wolfe'"):
        optim.LBFGS([np.ones(2)], line_search_fn=np.ones(2))


def test_a_number_is_shown_shortly():
    with pytest.raises(ValueError, match=r"lr=<int> is not finite"):
        optim.SGD([np.ones(2)], lr=10**5000)
    with pytest.raises(TypeError, match=r"lr=array\(.{90,110}\.\.\. is a ndarray"):
        optim.SGD([np.ones(2)], lr=np.linspace(0, 1, 99))


class TestMuon:
    def test_no_rows_and_no_columns(self):
        optimizer = optim.Muon([np.ones((3, 0)), np.ones((0, 3))])
        optimizer.step([np.ones((3, 0)), np.ones((0, 3))])
        assert [state["step"] for state in optimizer.state.values()] == [1, 1]

    def test_numbers_in_other_forms(self):
        p, q, g = np.eye(2), np.eye(2), np.array([[1.0, 2], [3, 4]])
        optimizer, other = optim.Muon([p], eps=1e-3, ns_steps=3), optim.Muon([q])
        other.param_groups[0].update(eps=np.float64(1e-3), ns_steps=3.0, ns_coefficients=[3.4445, -4.775, 2.0315])
        for each in (optimizer, other):
            each.step([g])
        np.testing.assert_array_equal(p, q)


class TestAnotherOptimizersState:
    """Known by hyper-parameters that only others have, even where nothing has stepped."""

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_every_pair(self, case):
        optimizer = case.optimizer([case.shaped(np.ones(3))])
        for other in CASES:
            saved = other.optimizer([other.shaped(np.ones(3))]).state_dict()
            if other.optimizer._checks.keys() <= case.optimizer._checks.keys():
                continue
            before = dict(optimizer.param_groups[0])
            with pytest.raises(ValueError, match=r"param_groups\[0\] has .*: it is of another optimizer"):
                optimizer.load_state_dict(saved)
            assert optimizer.param_groups[0] == before

    def test_keys_of_others_pass(self):
        """torch's own, and the user's."""
        optimizer = optim.SGD([np.ones(3)])
        saved = optimizer.state_dict()
        saved["param_groups"][0].update(
            foreach=None, fused=False, differentiable=False, capturable=True, tag="head", lr=3
        )
        optimizer.load_state_dict(saved)
        assert optimizer.param_groups[0]["tag"] == "head"
        # A name that another optimizer has, too, passes where the group has it already.
        saved["param_groups"][0]["alpha"] = 1
        with pytest.raises(ValueError, match=r"param_groups\[0\] has alpha"):
            optimizer.load_state_dict(saved)
        optimizer.param_groups[0]["alpha"] = 0
        optimizer.load_state_dict(saved)
        assert optimizer.param_groups[0]["alpha"] == 1

    def test_decoupled_decay_stays_decoupled(self):
        adam, adamw = optim.Adam([np.ones(3)]), optim.AdamW([np.ones(3)])
        with pytest.raises(ValueError, match="AdamW: decoupled_weight_decay=False; expected True, or Adam instead"):
            adamw.load_state_dict(adam.state_dict())
        assert adamw.param_groups[0]["decoupled_weight_decay"]
        adamw.param_groups[0]["decoupled_weight_decay"] = False
        with pytest.raises(ValueError, match="AdamW: decoupled_weight_decay=False; expected True, or Adam instead"):
            step(adamw)


class TestLayers:
    @pytest.mark.parametrize(
        ("name", "value", "text"),
        [
            ("training", None, "training=None; expected True or False"),
            ("weight", 1.0, "weight is float; expected a Parameter, or None"),
            ("weight", np.ones(3, np.float32), r"weight is float32, shape \(3,\); expected a Parameter, or None"),
            ("bias", "b", "bias is str; expected a Parameter, or None"),
        ],
    )
    def test_attributes_of_batch_norm(self, name, value, text):
        layer = nn.BatchNorm1d(3)
        setattr(layer, name, value)
        before = layer.running_mean.copy(), layer.running_var.copy()
        with pytest.raises(TypeError, match=f"BatchNorm1d: {text}"):
            layer(X)
        np.testing.assert_array_equal((layer.running_mean, layer.running_var), before)

    @pytest.mark.parametrize(
        ("count", "error", "text"),
        [
            (None, TypeError, "=None is a NoneType"),
            ("1", TypeError, "='1' is a str"),
            (-1, ValueError, "=-1"),
        ],
    )
    def test_what_is_no_count(self, count, error, text):
        layer = nn.BatchNorm1d(3, momentum=None)
        with pytest.raises(error, match=f"BatchNorm1d: num_batches_tracked{text}.*; expected a whole number"):
            layer.num_batches_tracked = count
        assert layer.num_batches_tracked == 0

    @pytest.mark.parametrize("name", ["weight", "running_mean"])
    def test_a_state_for_what_is_no_array(self, name):
        layer, saved = nn.BatchNorm1d(3), nn.BatchNorm1d(3).state_dict()
        setattr(layer, name, 1.0)
        with pytest.raises(ValueError, match=rf"BatchNorm1d.load_state_dict: [\s\S]*{name}.* is float; expected"):
            layer.load_state_dict(saved)

    def test_a_state_for_what_is_read_only(self):
        layer = nn.BatchNorm1d(3)
        layer(X)
        saved, before = nn.BatchNorm1d(3).state_dict(), layer.state_dict()
        layer.running_var.flags.writeable = False
        with pytest.raises(ValueError, match=r"'running_var' of this layer is float32, .*; expected an array"):
            layer.load_state_dict(saved)
        np.testing.assert_equal(layer.state_dict(), before)

    def test_training_of_dropout(self):
        layer = nn.Dropout(seed=0)
        layer.training = None
        with pytest.raises(TypeError, match="Dropout: training=None; expected True or False"):
            layer(X)
        assert layer.offset == 0

    @pytest.mark.parametrize("dtype", [float("nan"), "x", np.float16, [1]])
    def test_dtypes(self, dtype):
        with pytest.raises(TypeError, match=r"BatchNorm1d: dtype=.*; expected np.float32 or np.float64"):
            nn.BatchNorm1d(3, dtype=dtype)

    @pytest.mark.parametrize("kind", ["batch_norm", "dropout"])
    def test_contexts(self, kind):
        for context in (None, 3):
            with pytest.raises(
                TypeError, match=f"{kind}_backward: context is .*; expected the one that {kind}_forward"
            ):
                getattr(functional, f"{kind}_backward")(X, context)


class TestSchedules:
    @pytest.mark.parametrize(
        "make",
        [
            lambda o: StepLR(o, 2),
            lambda o: LambdaLR(o, lambda t: 1),
            lambda o: MultiplicativeLR(o, lambda t: 1),
            lambda o: CyclicLR(o, 0.1, 1),
            lambda o: OneCycleLR(o, 1, 10),
            lambda o: optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
            lambda o: optim.swa_utils.SWALR(o, 0.1),
            ReduceLROnPlateau,
            lambda o: SequentialLR(o, [StepLR(o, 2), ExponentialLR(o, 0.5)], [3]),
            lambda o: ChainedScheduler([StepLR(o, 2), ExponentialLR(o, 0.5)]),
            lambda o: ChainedScheduler([CyclicLR(o, 0.1, 1)]),
            lambda o: WarmupLR(StepLR(o, 2), 3),
        ],
    )
    def test_steps_to_look_at(self, make):
        schedule = make(optim.SGD([np.ones(2)], momentum=0.9))
        for t, error, text in (
            ("x", TypeError, "t='x' is a str; expected a number, 0 or more"),
            (None, TypeError, "t=None is a NoneType; expected a number, 0 or more"),
            (float("nan"), ValueError, "t=nan; expected a finite number, 0 or more"),
            (-1, ValueError, "t=-1; expected a finite number, 0 or more"),
            (HUGE, ValueError, r"t=1000\d*\.\.\.; expected a finite number, 0 or more, up to 2\^53"),
        ):
            with pytest.raises(error, match=text):
                schedule.lr_at(t)

    def test_counts_end_somewhere(self):
        optimizer = optim.SGD([np.ones(2)])
        with pytest.raises(ValueError, match=r"StepLR: step_size=1000\d*\.\.\. is too large; expected .* up to 2\^53"):
            StepLR(optimizer, HUGE)
        with pytest.raises(ValueError, match=r"StepLR: last_epoch=1000\d*\.\.\.; expected -1"):
            StepLR(optimizer, 2, last_epoch=HUGE)
        schedule = StepLR(optimizer, 2)
        optimizer.step([np.ones(2)])
        with pytest.raises(ValueError, match=r"StepLR: epoch=1000\d*\.\.\.; expected .* up to 2\^53"):
            schedule.step(HUGE)
        assert schedule.last_epoch == 0

    def test_what_drives_a_hyperparameter(self):
        optimizer = optim.SGD([np.ones(2)])
        for key in (None, 3, ("betas",), ("betas", "x"), ("betas", 0, 1)):
            with pytest.raises(TypeError, match=r"HyperparameterScheduler: key=.*; expected a key of the groups"):
                HyperparameterScheduler(optimizer, key, StepLR, step_size=2)
        with pytest.raises(TypeError, match="HyperparameterScheduler: schedule=None; expected the class of a schedule"):
            HyperparameterScheduler(optimizer, "weight_decay", None)

    def test_a_state_without_cycled_momentum_loads_where_it_is_cycled(self):
        def cyclic(**settings):
            return CyclicLR(optim.SGD([np.ones(2)], momentum=0.5), 0.1, 1, **settings)

        schedule = cyclic()
        schedule.load_state_dict(cyclic(cycle_momentum=False).state_dict())
        assert (schedule.cycle_momentum, schedule.base_momentums) == (False, [])
        other = cyclic(cycle_momentum=False)
        other.load_state_dict(cyclic().state_dict())
        assert (other.cycle_momentum, other.optimizer.param_groups[0]["momentum"]) == (True, 0.9)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"rng": -1}, ValueError, "rng=-1; expected a generator, a seed from 0 on, or None"),
        ({"rng": "x"}, TypeError, "rng='x'; expected a generator, a seed from 0 on, or None"),
        ({"shuffle": None}, TypeError, "shuffle=None; expected True or False"),
        ({"drop_last": "no"}, TypeError, "drop_last='no'; expected True or False"),
    ],
)
def test_minibatches_are_refused_at_the_call(settings, error, text):
    with pytest.raises(error, match=f"minibatches: {text}"):
        minibatches(X, **settings)
