"""Modifiers of updates: cautious masking and the clipping of an update to an RMS, over every rule."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, id_of
from modifier_cases import MODIFIER_CASES, STEPS, problem
from ravine import _core, config, optim
from ravine.reference import _adafactor
from ravine.reference._common import descent
from ravine.reference.modifiers import modified

GOLDEN = Path(__file__).parent / "golden/modifiers/pytorch_optimizer.npz"
SHAPES = [(1,), (15,), (1025,), (33, 70), (4096,), (9001,), (2, 3, 1400), (200, 170)]
FEW = [(15,), (33, 70), (4099,)]
EACH_WAY = [(isa, threads) for isa in config.available_isas() for threads in (1, 3)]
REFUSED = [case for case in CASES if case.name in ("SGDScheduleFree", "AdamWScheduleFree", "SWATS", "ASGD")]
TAKEN = [case for case in CASES if case not in REFUSED]
NAMES = [case.name for case in TAKEN]
ALL = [(case, settings) for case in TAKEN for settings in case.configs]
ALL_IDS = [f"{case.name}-{id_of(settings)}" for case, settings in ALL]
# A limit in units of lr that the first steps of each exceed.
LIMITS = {"Adadelta": 5e-4, "Prodigy": 5e-7, "LARS": 5e-4, "Muon": 0.02, "ADOPT": 0.02}
KINDS = [("cautious",), ("max_update_rms",), ("cautious", "max_update_rms")]
EXACT = [case for case in TAKEN if not case.matrices]


def modifiers_of(case, kinds):
    return {kind: True if kind == "cautious" else LIMITS.get(case.name, 0.3) for kind in kinds}


def arrays(case, dtype, seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    shapes = [shape for shape in shapes if not case.matrices or len(shape) == 2]
    made = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    return [np.asfortranarray(array) if array.shape == (33, 70) else array for array in made]


def bits(optimizer, params):
    return [p.copy(order="K") for p in params], optimizer.state_dict()


def decay_of(optimizer):
    """Return what weight decay does before the rule of an optimizer's first group."""
    group = optimizer.param_groups[0]
    rule = optimizer._rule(group)
    schema = _core.rules()[rule.name]
    if not group.get("weight_decay") or "weight_decay" in schema["hyper"]:
        return "none"
    decays = schema["decays"]
    return decays[0] if len(decays) == 1 else "decoupled" if rule.decoupled else "coupled"


def run_reference(case, settings, modifiers, params, gradients):
    """Return the states after modified steps of the reference, which change the parameters."""
    optimizer = case.optimizer([p.copy() for p in params], **settings)
    group, decay = optimizer.param_groups[0], decay_of(optimizer)
    states = [{} for _ in params]
    for grads in gradients:
        after = [p.copy(order="K") for p in params]
        shrunk = group["lr"] * group["weight_decay"] if decay == "decoupled" else 0.0
        case.run_reference(settings, after, [grads], states)
        for p, q, raw, state in zip(params, after, grads, states, strict=True):
            g = descent(p, raw, group["maximize"], group["weight_decay"] if decay == "coupled" else 0.0)
            extra = {"block": _adafactor.block_of(p)} if case.name == "Adafactor" else {}
            if "max_grad_rms" in modifiers:
                correction = p.dtype.type(1 / (1 - group["betas"][1] ** state["step"]))
                extra |= {"mean_square": correction * state["exp_avg_sq"], "eps": group["eps"]}
            p[...] = modified(p, q, g, lr=group["lr"], shrunk=shrunk, **modifiers, **extra)
    return states


def assert_equals_reference(case, settings, modifiers, dtype, shapes):
    start = arrays(case, dtype, 0, shapes)
    gradients = [arrays(case, dtype, seed, shapes) for seed in (1, 2)]
    expected = [p.copy(order="K") for p in start]
    states = run_reference(case, settings, modifiers, expected, gradients)
    for isa, threads in EACH_WAY:
        config.set_isa(isa)
        config.set_num_threads(threads)
        params = [p.copy(order="K") for p in start]
        optimizer = case.optimizer([{"params": params, **modifiers}], **settings)
        for grads in gradients:
            optimizer.step(grads)
        for p, q, state in zip(params, expected, states, strict=True):
            where = f"{p.shape}, {isa}, {threads} threads"
            if case.matrices:
                np.testing.assert_allclose(p, q, rtol=1e-9, atol=1e-12, err_msg=where)
                continue
            np.testing.assert_array_equal(p, q, err_msg=where)
            for name, value in optimizer.state[p].items():
                np.testing.assert_array_equal(value, state[name], err_msg=f"{name}, {where}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("case", "settings"), ALL, ids=ALL_IDS)
def test_bits_equal_the_reference(case, settings, dtype):
    if case.matrices:  # products of matrices have no fixed order: an element near 0 could be kept or not in float32
        dtype = np.float64
    assert_equals_reference(case, settings, modifiers_of(case, KINDS[2]), dtype, FEW)


@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize("case", TAKEN, ids=NAMES)
def test_each_alone_and_both_over_shapes(case, kinds):
    assert_equals_reference(case, case.configs[0], modifiers_of(case, kinds), np.float64, SHAPES)


ADAMS = [(case, settings) for case, settings in ALL if case.name in ("Adam", "AdamW")]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cautious", [False, True])
@pytest.mark.parametrize(
    ("case", "settings"), ADAMS, ids=[f"{case.name}-{id_of(settings)}" for case, settings in ADAMS]
)
def test_the_limit_of_the_gradient(case, settings, cautious, dtype):
    assert_equals_reference(case, settings, {"cautious": cautious, "max_grad_rms": 0.7}, dtype, FEW)


@pytest.mark.parametrize("case", TAKEN, ids=NAMES)
def test_modifiers_have_an_effect(case):
    """Or else the tests above would compare what was never modified."""
    seen = []
    for kinds in ((), *KINDS):
        params = arrays(case, np.float64, 0)
        optimizer = case.optimizer([{"params": params, **modifiers_of(case, kinds)}])
        for seed in (1, 2, 3):
            optimizer.step(arrays(case, np.float64, seed))
        seen.append(params)
    plain, cautious, clipped, both = seen
    pairs = [(plain, clipped), (cautious, both)]
    if case.name not in ("Adagrad", "SGD", "Adadelta", "RMSprop", "Adafactor", "Rprop"):  # whose updates all descend
        pairs.append((plain, cautious))
    for one, other in pairs:
        assert any((p != q).any() for p, q in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", TAKEN, ids=NAMES)
def test_a_limit_that_is_not_reached_changes_no_bit(case, dtype):
    for settings in case.configs:
        seen = []
        for modifiers in ({}, {"cautious": False, "max_update_rms": 1e9}, {"max_update_rms": None}):
            params = arrays(case, dtype, 0)
            optimizer = case.optimizer([{"params": params, **modifiers}], **settings)
            for seed in (1, 2):
                optimizer.step(arrays(case, dtype, seed))
            seen.append([*params, *(value for p in params for value in optimizer.state[p].values())])
        np.testing.assert_equal(seen[1], seen[0])
        np.testing.assert_equal(seen[2], seen[0])


def test_by_hand():
    """One step of SGD with momentum whose first element climbs: d = (0.8, -1.9, -0.1), g = (0.1, 1, 1)."""
    p = np.zeros(3)
    optimizer = optim.SGD([{"params": [p], "cautious": True}], lr=1.0, momentum=0.9)
    optimizer.step([np.array([-1.0, 1.0, -1.0])])
    np.testing.assert_allclose(p, np.array([1, -1, 1]) * 3 / 4, rtol=1e-15)  # all three descend
    p[...] = 0
    optimizer.step([np.array([0.1, 1.0, 1.0])])
    np.testing.assert_allclose(p, [0, -1.9, -0.1], rtol=1e-14)  # two of three: n / (k + 1) = 1
    p[...] = 0
    optimizer.param_groups[0]["max_update_rms"] = 0.1
    before = optimizer.state[p]["momentum_buffer"].copy()
    optimizer.step([np.array([0.1, 1.0, 1.0])])
    np.testing.assert_allclose(np.sqrt(np.mean(p**2)), 0.1, rtol=1e-14)
    b = 0.9 * before + [0.1, 1.0, 1.0]
    np.testing.assert_allclose(p / p[1], np.where(b > 0, b, 0) / b[1], rtol=1e-14)


@pytest.mark.parametrize("case", EXACT, ids=[case.name for case in EXACT])
def test_together_with_what_else_a_step_does(case):
    """Unscaling, cutting off, zeroing, averaging, in float32 with the same bits."""
    modifiers = {"cautious": True, "max_update_rms": 0.5}
    raw = [20 * g for g in arrays(case, np.float32, 2)]
    params, other = arrays(case, np.float32, 0), arrays(case, np.float32, 0)
    optimizer = case.optimizer([{"params": params, **modifiers}])
    ema = optim.swa_utils.ExponentialMovingAverage(optimizer, 0.5)
    plain = case.optimizer([{"params": other, **modifiers}])
    averages = []
    for _ in range(2):
        grads = [g.copy(order="K") for g in raw]
        optimizer.step(grads, grad_scale=12, max_value=0.7, zero_grad=True)
        assert not any(g.any() for g in grads)
        plain.step([np.clip(np.float32(1 / 12) * g, -0.7, 0.7) for g in raw])
        averages.append([p.copy(order="K") for p in other])
    np.testing.assert_equal(params, other)
    with ema.applied():
        for p, first, second in zip(params, *averages, strict=True):
            np.testing.assert_array_equal(p, second - (second - first) * np.float32(0.5))


def test_the_norm_comes_before():
    p, q = np.zeros(3), np.zeros(3)
    grad = np.array([3.0, 0, 4])
    optimizer, other = (optim.SGD([{"params": [each], "max_update_rms": 0.1}], lr=1.0) for each in (p, q))
    optimizer.step([grad], max_norm=1.0)
    other.step([grad / (5 + 1e-6)])
    np.testing.assert_allclose(p, q, rtol=1e-15)
    np.testing.assert_allclose(p, -0.1 * np.sqrt(3) * grad / 5)
    optimizer.step([np.array([np.nan, 1, 1])], skip_nonfinite=True)
    assert not optimizer.last_step.applied
    np.testing.assert_allclose(p, q, rtol=1e-15)


def test_what_is_not_finite_stays():
    """As in torch: an update that is NaN is not hidden by its mask."""
    p = np.zeros(4)
    optimizer = optim.SGD([{"params": [p], "cautious": True, "max_update_rms": 1.0}], lr=1.0)
    optimizer.step([np.array([np.nan, 1.0, -1.0, np.inf])])
    assert np.isnan(p[0])
    assert not np.isfinite(p[3])


def test_tiny_gradients_have_signs():
    """Where the product of update and gradient would be 0 in float32."""
    p = np.zeros(2, np.float32)
    optimizer = optim.SGD([{"params": [p], "cautious": True}], lr=1.0)
    optimizer.step([np.array([1e-30, -1e-30], np.float32)])
    np.testing.assert_array_equal(p, np.float32(2 / 3) * np.array([-1e-30, 1e-30], np.float32))


def test_only_the_groups_that_have_them():
    params = [np.ones(5) for _ in range(3)]
    optimizer = optim.Lion(
        [{"params": [params[0]]}, {"params": [params[1]], "max_update_rms": 0.5}, {"params": [params[2]]}]
    )
    optimizer.step([np.ones(5)] * 3)
    np.testing.assert_array_equal(params[0], params[2])
    np.testing.assert_allclose(1 - params[1], (1 - params[0]) / 2, rtol=0.02)
    assert [group.get("max_update_rms") for group in optimizer.param_groups] == [None, 0.5, None]
    optimizer.step([None, None, np.ones(5)])
    optimizer.step([None] * 3)


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_empty_parameters(shape):
    for name in ("Adam", "Adafactor"):
        p = np.zeros(shape)
        optimizer = getattr(optim, name)([{"params": [p], "cautious": True, "max_update_rms": 1.0}])
        optimizer.step([np.zeros(shape)])
        assert optimizer.state[p]["step"] == 1


def test_sums_of_other_processes_come_in():
    """A reduce that says that the other process has as many elements kept decides about this one's factor."""
    p = np.zeros(5000)
    optimizer = optim.SGD([{"params": [p], "cautious": True}, {"params": [np.zeros(3)]}], lr=1.0)
    seen = []
    plan = optimizer._make_plan()

    def reduce(sums):
        seen.append(sums.copy())
        sums[0, 0] = 0
        sums[1, 0] = 9

    plan.set_reduce(reduce)
    optimizer.step([np.ones(5000), np.ones(3)])
    np.testing.assert_array_equal(seen, [[[4096, 4096], [904, 904], [0, 0]]])
    np.testing.assert_array_equal(p, -500)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "SparseAdam"])
@pytest.mark.parametrize("modifiers", [{"cautious": True}, {"max_update_rms": 0.3}], ids=id_of)
def test_sparse_gradients_are_refused(name, modifiers):
    p = np.ones((6, 3))
    optimizer = getattr(optim, name)([{"params": {"table": p}, **modifiers}])
    gradient = optim.SparseGrad(np.array([1, 4]), np.ones((2, 3)), (6, 3))
    with pytest.raises(ValueError, match=r"'table'.*cautious, max_update_rms and max_grad_rms take sums over"):
        optimizer.step([gradient])
    assert (p == 1).all()
    optimizer.step([gradient.to_dense()])
    assert (p != 1).any()


def test_step_param_gives_the_same_bits():
    seen = []
    for one_by_one in (False, True):
        params = [np.linspace(-1, 1, n) for n in (7, 5000)]
        optimizer = optim.AdamW([{"params": params, "cautious": True, "max_update_rms": 0.2}])
        for seed in (1, 2):
            rng = np.random.default_rng(seed)
            grads = [rng.standard_normal(p.shape) for p in params]
            if one_by_one:
                for i in (1, 0):
                    optimizer.step_param(i, grads[i])
                optimizer.end_step()
            else:
                optimizer.step(grads)
        seen.append(bits(optimizer, params))
    np.testing.assert_equal(seen[1], seen[0])


class TestChoosing:
    def optimizer(self, **modifiers):
        self.p = np.zeros(4)
        optimizer = optim.SGD([{"params": [self.p], **modifiers}], lr=1.0)
        optimizer.step([np.ones(4)])
        self.p[...] = 0
        return optimizer

    def stepped(self, optimizer):
        self.p[...] = 0
        optimizer.step([np.ones(4)])
        return self.p[0]

    def test_an_edit_by_hand_is_noticed(self):
        optimizer = self.optimizer()
        group = optimizer.param_groups[0]
        assert self.stepped(optimizer) == -1
        group["max_update_rms"] = 0.5
        assert self.stepped(optimizer) == -0.5
        group["max_update_rms"] = np.float32(0.25)
        assert self.stepped(optimizer) == -0.25
        group["cautious"] = True
        assert self.stepped(optimizer) == -0.25
        del group["max_update_rms"]
        assert self.stepped(optimizer) == -0.8
        group["cautious"] = False
        assert self.stepped(optimizer) == -1
        group["max_update_rms"] = 0.5
        assert self.stepped(optimizer) == -0.5
        group["max_update_rms"] = None
        assert self.stepped(optimizer) == -1

    def test_so_is_one_key_in_the_place_of_another(self):
        optimizer = self.optimizer()
        group = optimizer.param_groups[0]
        group["max_update_mrs"] = 0.5
        assert self.stepped(optimizer) == -1
        group["max_update_rms"] = group.pop("max_update_mrs")
        assert self.stepped(optimizer) == -0.5
        group["cautious"] = bool(group.pop("max_update_rms"))
        assert self.stepped(optimizer) == -0.8

    def test_modify(self):
        optimizer = self.optimizer()
        optimizer.modify(max_update_rms=0.5)
        assert self.stepped(optimizer) == -0.5
        assert optimizer.defaults["max_update_rms"] == 0.5
        optimizer.add_param_group({"params": [np.zeros(2)]})
        assert optimizer.param_groups[1]["max_update_rms"] == 0.5
        optimizer.modify(cautious=True)
        assert all("max_update_rms" not in group and group["cautious"] is True for group in optimizer.param_groups)
        optimizer.modify()
        assert all("cautious" not in group for group in (*optimizer.param_groups, optimizer.defaults))
        self.p[...] = 0
        optimizer.step([np.ones(4), None])
        assert self.p[0] == -1

    def test_copies_have_them(self):
        optimizer = self.optimizer(max_update_rms=0.5)
        for other in (copy.copy(optimizer), copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert other.param_groups[0]["max_update_rms"] == 0.5

    def test_they_are_saved(self):
        optimizer = self.optimizer(cautious=True, max_update_rms=0.5)
        saved = optimizer.state_dict()
        assert saved["param_groups"][0]["max_update_rms"] == 0.5
        plain = self.optimizer()
        bare = plain.state_dict()
        plain.load_state_dict(saved)
        assert plain.param_groups[0]["cautious"] is True
        assert self.stepped(plain) == -0.5
        plain.load_state_dict(bare)  # takes over exactly what was saved
        assert plain.param_groups[0].keys().isdisjoint({"cautious", "max_update_rms"})
        assert self.stepped(plain) == -1

    def test_damaged_ones_are_not_loaded(self):
        optimizer = self.optimizer(max_update_rms=0.5)
        saved = optimizer.state_dict()
        saved["param_groups"][0]["max_update_rms"] = -1
        with pytest.raises(ValueError, match=r"max_update_rms=-1; expected a finite number above 0, or None"):
            optimizer.load_state_dict(saved)
        assert optimizer.param_groups[0]["max_update_rms"] == 0.5


BAD = [
    ({"cautious": "yes"}, TypeError, r"cautious='yes'; expected True or False"),
    ({"cautious": None}, TypeError, r"cautious=None; expected True or False"),
    ({"max_update_rms": 0}, ValueError, r"max_update_rms=0; expected a finite number above 0, or None"),
    ({"max_update_rms": -1.0}, ValueError, r"max_update_rms=-1.0; expected"),
    ({"max_update_rms": np.nan}, ValueError, r"max_update_rms=nan is not finite"),
    ({"max_update_rms": np.inf}, ValueError, r"max_update_rms=inf is not finite"),
    ({"max_update_rms": "1"}, TypeError, r"max_update_rms='1' is a str; expected a finite number above 0, or None"),
    ({"max_grad_rms": 1.0}, ValueError, r"max_grad_rms=1.0; expected None, since only Adam and AdamW have this limit"),
    ({"max_update_rms": [1.0]}, TypeError, r"max_update_rms=\[1.0\] is a list"),
]


@pytest.mark.parametrize(("bad", "error", "message"), BAD, ids=str)
def test_bad_values_change_nothing(bad, error, message):
    p = np.ones(3)
    with pytest.raises(error, match="SGD: " + message):
        optim.SGD([{"params": [p], **bad}])
    optimizer = optim.SGD([p], momentum=0.9)
    optimizer.step([np.ones(3)])
    before = bits(optimizer, [p])
    with pytest.raises(error, match=r"SGD.modify: " + message):
        optimizer.modify(**bad)
    np.testing.assert_equal(bits(optimizer, [p]), before)
    optimizer.param_groups[0].update(bad)
    held = p.copy(), optimizer.state[p]["momentum_buffer"].copy()
    with pytest.raises(error, match="SGD: " + message):
        optimizer.step([np.ones(3)])
    np.testing.assert_equal((p, optimizer.state[p]["momentum_buffer"]), held)
    for name in bad:
        del optimizer.param_groups[0][name]
    optimizer.step([np.ones(3)])


def test_one_limit_or_the_other():
    message = r"max_update_rms=1.0 with max_grad_rms=2.0; expected one limit or the other"
    both = {"max_update_rms": 1.0, "max_grad_rms": 2.0}
    p = np.ones(3)
    with pytest.raises(ValueError, match="AdamW: " + message):
        optim.AdamW([{"params": [p], **both}])
    optimizer = optim.AdamW([{"params": [p], "max_update_rms": 1.0}])
    with pytest.raises(ValueError, match="AdamW.modify: " + message):
        optimizer.modify(**both)
    optimizer.step([np.ones(3)])
    before = bits(optimizer, [p])
    optimizer.param_groups[0]["max_grad_rms"] = 2.0
    with pytest.raises(ValueError, match="AdamW: " + message):
        optimizer.step([np.ones(3)])
    del optimizer.param_groups[0]["max_grad_rms"]
    np.testing.assert_equal(bits(optimizer, [p]), before)


def test_unknown_ones():
    with pytest.raises(ValueError, match=r"unknown hyper-parameter 'cautions'; .*Did you mean 'cautious'\?"):
        optim.SGD([{"params": [np.ones(3)], "cautions": True}])


@pytest.mark.parametrize("modifiers", [{"cautious": True}, {"max_update_rms": 0.3}], ids=id_of)
@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_what_is_no_update_is_not_modified(case, modifiers):
    p = np.ones(3)
    with pytest.raises(
        ValueError, match=rf"{case.name}: (cautious=True; expected False|max_.*; expected None), since its? "
    ):
        case.optimizer([{"params": [p], **modifiers}])
    optimizer = case.optimizer([p])
    with pytest.raises(ValueError, match=rf"{case.name}.modify: .*, since "):
        optimizer.modify(**modifiers)
    optimizer.step([np.ones(3)])
    before = p.copy()
    optimizer.param_groups[0].update(modifiers)
    with pytest.raises(ValueError, match=", since "):
        optimizer.step([np.ones(3)])
    np.testing.assert_array_equal(p, before)
    optimizer.param_groups[0].update({"cautious": False, "max_update_rms": None})
    optimizer.step([np.ones(3)])
    assert (p != before).any()


def test_lbfgs_and_a_handoff_say_why():
    with pytest.raises(ValueError, match=r"LBFGS: cautious=True; expected False, since its step is a search"):
        optim.LBFGS([{"params": [np.ones(3)], "cautious": True}])
    with pytest.raises(
        ValueError, match=r"LBFGS.modify: max_update_rms=1.0; expected None, since its step is a search"
    ):
        optim.LBFGS([np.ones(3)]).modify(max_update_rms=1.0)
    p = np.zeros(3)
    handoff = optim.Handoff([optim.SGD([{"params": [p], "max_update_rms": 0.5}], lr=1.0), optim.Adam([p])], at=[1])
    with pytest.raises(ValueError, match=r"Call modify\(\) of each of handoff.optimizers"):
        handoff.modify(cautious=True)
    handoff.step([np.ones(3)])
    np.testing.assert_array_equal(p, -0.5)


@pytest.mark.parametrize("case", MODIFIER_CASES, ids=[case.name for case in MODIFIER_CASES])
def test_golden_values(case):
    """pytorch_optimizer 4.1's, in float64."""
    start, grads = problem()
    ends = []
    for modifiers in (case.modifiers, {}):
        params = {name: value.copy() for name, value in start.items()}
        optimizer = getattr(optim, case.ours)([{"params": params, **modifiers}], **case.ours_settings)
        for t in range(STEPS):
            optimizer.step({name: grad[t] for name, grad in grads.items()})
        ends.append(params)
    with np.load(GOLDEN) as golden:
        for name, p in ends[0].items():
            expected = golden[f"{case.name}/{name}"]
            np.testing.assert_allclose(p, expected, rtol=1e-12, atol=1e-12)
            assert not np.allclose(ends[1][name], expected, rtol=1e-3)  # nor are the plain ones
