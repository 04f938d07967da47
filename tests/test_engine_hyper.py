"""Hyper-parameters that change between steps: read by the compiled part, and by Python only where it has to."""

from __future__ import annotations

import gc
import weakref
from fractions import Fraction

import numpy as np
import pytest
from cases import CASES
from ravine import optim

GRAD = np.array([0.1, -2.0, 3.0, 0.4])


def counted(optimizer):
    """Count how often Python checks a group's hyper-parameters from now on."""
    calls = []
    check = optimizer._checked
    optimizer._checked = lambda *args: calls.append(1) or check(*args)
    return calls


@pytest.mark.parametrize(
    ("make", "edits"),
    [
        (optim.Adam, [{"lr": 0.1}, {"betas": (0.8, 0.9)}, {"eps": 1e-3}, {"weight_decay": 0.1}, {"weight_decay": 0.0}]),
        (optim.Adam, [{"maximize": True}, {"maximize": False}, {"eps_root": 1e-4}, {"lr": 0}, {"lr": 1}]),
        (optim.Adam, [{"lr": np.float32(0.1)}, {"lr": np.array(0.2)}, {"lr": np.float64(0.3)}, {"betas": [0.8, 0.9]}]),
        (optim.AdamW, [{"weight_decay": 0.5}, {"weight_decay": 0}]),
        (lambda p: optim.SGD(p, momentum=0.9), [{"momentum": 0.5}, {"dampening": 0.0}, {"lr": 0.3}]),
        (lambda p: optim.RMSprop(p, momentum=0.9), [{"momentum": 0.5}, {"alpha": 0.5}, {"eps": 0.1}]),
        (optim.NAdam, [{"momentum_decay": 0.1}]),
        (optim.Prodigy, [{"beta3": None}, {"beta3": 0.5}, {"safeguard_warmup": True}, {"d0": 1e-3}]),
        (optim.ADOPT, [{"use_clipping": False}, {"use_clipping": True}]),
        (optim.SGDScheduleFree, [{"warmup_steps": 10}, {"momentum": 0.5}]),
        (optim.Rprop, [{"etas": (0.4, 1.5)}]),
        (optim.Adafactor, [{"eps": (None, 1e-2)}, {"eps": (1e-3, 1e-2)}, {"d": 2.0}]),
    ],
)
def test_numbers_change_without_python(make, edits):
    p, q = np.ones(4), np.ones(4)
    optimizer, planned_anew = make([p]), make([q])
    optimizer.step([GRAD])
    planned_anew.step([GRAD])
    calls = counted(optimizer)
    for edit in edits:
        for each in (optimizer, planned_anew):
            each.param_groups[0].update(edit)
        planned_anew._drop_plan()  # so that Python reads everything
        for each in (optimizer, planned_anew):
            each.step([GRAD])
        np.testing.assert_array_equal(p, q, err_msg=str(edit))
    assert not calls


@pytest.mark.parametrize(
    ("make", "edit"),
    [
        (optim.SGD, {"momentum": 0.5}),
        (lambda p: optim.SGD(p, momentum=0.9), {"momentum": 0.0}),
        (lambda p: optim.SGD(p, momentum=0.9), {"nesterov": True}),
        (lambda p: optim.SGD(p, momentum=0.9), {"dampening": 0.5}),
        (optim.Adam, {"amsgrad": True}),
        (optim.Adam, {"decoupled_weight_decay": True}),
        (lambda p: optim.RMSprop(p, momentum=0.9), {"momentum": 0.0}),
        (optim.RMSprop, {"eps_inside_sqrt": True}),
        (optim.AdEMAMix, {"betas": (0.8, 0.9, 0.99)}),
        (optim.Rprop, {"step_sizes": (1e-3, 1.0)}),
    ],
)
def test_python_is_asked_once_where_another_rule_may_be_needed(make, edit):
    p, q = np.ones(4), np.ones(4)
    optimizer, planned_anew = make([p]), make([q])
    optimizer.step([GRAD])
    planned_anew.step([GRAD])
    calls = counted(optimizer)
    for each in (optimizer, planned_anew):
        each.param_groups[0].update(edit)
    planned_anew._drop_plan()
    for _ in range(2):
        for each in (optimizer, planned_anew):
            each.step([GRAD])
    np.testing.assert_array_equal(p, q)
    assert len(calls) == 1


def test_objects_that_change_in_place_are_read_at_each_step():
    """A list of betas, an array of no dimension."""
    p, q = np.ones(4), np.ones(4)
    betas, lr = [0.9, 0.99], np.array(0.1)
    optimizer = optim.Adam([p])
    optimizer.param_groups[0].update(betas=betas, lr=lr)
    other = optim.Adam([q])
    for beta, rate in ((0.9, 0.1), (0.5, 0.1), (0.5, 0.7)):
        betas[0], lr[...] = beta, rate
        other.param_groups[0].update(betas=(beta, 0.99), lr=rate)
        for each in (optimizer, other):
            each.step([GRAD])
        np.testing.assert_array_equal(p, q)
    momentum = np.array(0.9)
    optimizer = optim.SGD([p], momentum=0.9)
    optimizer.param_groups[0]["momentum"] = momentum
    optimizer.step([GRAD])
    momentum[...] = 0
    optimizer.step([GRAD])
    assert optimizer._bound == ["sgd"]
    warmup = [0.5, 0.9, 0.99]
    optimizer = optim.AdEMAMix([p], beta3_warmup=10)
    optimizer.param_groups[0]["betas"] = warmup
    optimizer.step([GRAD])
    warmup[0] = 0.0  # from which no other beta can grow
    with pytest.raises(ValueError, match=r"beta3_warmup=10 with betas=\(0.0, 0.9, 0.99\)"):
        optimizer.step([GRAD])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"lr": -1.0}, r"Adam: lr=-1.0 is negative"),
        ({"lr": float("nan")}, r"Adam: lr=nan is not finite"),
        ({"lr": float("inf")}, r"Adam: lr=inf is not finite"),
        ({"lr": None}, r"Adam: lr=None is a NoneType"),
        ({"lr": [0.1]}, r"Adam: lr=\[0.1\] is a list"),
        ({"betas": (0.9, 1.0)}, r"Adam: betas\[1\]=1.0 is out of range"),
        ({"betas": (0.9,)}, r"Adam: betas=\(0.9,\); expected a pair"),
        ({"betas": (0.9, 0.9, 0.9)}, r"Adam: betas=\(0.9, 0.9, 0.9\); expected a pair"),
        ({"betas": 0.9}, r"Adam: betas=0.9; expected a pair"),
        ({"maximize": 0.5}, r"Adam: maximize=0.5; expected True or False"),
        ({"amsgrad": "yes"}, r"Adam: amsgrad='yes'; expected True or False"),
        ({"lr": 10**400}, r"Adam: lr=1000"),
    ],
)
def test_wrong_values_change_nothing(edit, message):
    p = np.ones(4)
    optimizer = optim.Adam([p])
    optimizer.step([GRAD])
    before, saved, good = p.copy(), optimizer.state_dict()["state"], dict(optimizer.param_groups[0])
    optimizer.param_groups[0].update(edit)
    for _ in range(2):
        with pytest.raises((TypeError, ValueError, OverflowError), match=message):
            optimizer.step([GRAD])
        np.testing.assert_array_equal(p, before)
        np.testing.assert_equal(optimizer.state_dict()["state"], saved)
    optimizer.param_groups[0].update(good)
    other = optim.Adam([before])
    other.load_state_dict(optimizer.state_dict())
    for each in (optimizer, other):
        each.step([GRAD])
    np.testing.assert_array_equal(p, before)


@pytest.mark.parametrize("at", range(4))
def test_an_interruption_while_another_rule_is_bound(monkeypatch, at):
    """The next step makes up for what is missing."""
    params, expected = [np.ones(4) for _ in range(3)], [np.ones(4) for _ in range(3)]
    optimizer, other = optim.SGD(params, lr=0.1), optim.SGD(expected, lr=0.1)
    for each in (optimizer, other):
        each.step([GRAD] * 3)
        each.param_groups[0]["momentum"] = 0.9
    states_for, calls = optimizer._states_for, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) > at:
            raise KeyboardInterrupt
        return states_for(*args)

    monkeypatch.setattr(optimizer, "_states_for", interrupted)
    if at < 3:
        with pytest.raises(KeyboardInterrupt):
            optimizer.step([GRAD] * 3)
    monkeypatch.undo()
    for _ in range(2):
        for each in (optimizer, other):
            each.step([GRAD] * 3)
    np.testing.assert_equal(params, expected)
    np.testing.assert_equal(optimizer.state_dict(), other.state_dict())


def test_a_value_that_only_python_understands_works_at_every_step():
    p, q = np.ones(4), np.ones(4)
    optimizer, other = optim.Adam([p]), optim.Adam([q], lr=0.1)
    optimizer.param_groups[0]["lr"] = Fraction(1, 10)
    for _ in range(3):
        optimizer.step([GRAD])
        other.step([GRAD])
    np.testing.assert_array_equal(p, q)


def test_a_missing_key_is_an_error():
    optimizer = optim.Adam([np.ones(4)])
    optimizer.step([GRAD])
    del optimizer.param_groups[0]["eps"]
    with pytest.raises(ValueError, match=r"Adam: the group has no eps; set group\['eps'\] again"):
        optimizer.step([GRAD])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_any_change_gives_what_planning_anew_gives(case):
    """Through all configurations of the table and back, each changed between two steps."""
    rng = np.random.default_rng(0)
    start = case.shaped(rng.standard_normal(6))
    p, q = start.copy(), start.copy()
    optimizer, planned_anew = case.optimizer([p]), case.optimizer([q])
    for settings in (*case.configs, *reversed(case.configs)):
        hyper = {name: value for name, value in settings.items() if name in optimizer.defaults}
        gradient = case.shaped(rng.standard_normal(6))
        for each in (optimizer, planned_anew):
            each.param_groups[0].update({**each.defaults, **hyper})
        planned_anew._drop_plan()
        for each in (optimizer, planned_anew):
            each.step([gradient])
        np.testing.assert_array_equal(p, q, err_msg=str(settings))


class Acting:
    """A number that does something when it is read."""

    def __init__(self, act):
        self.act = act

    def __float__(self):
        self.act()
        return 0.1


def two_groups():
    optimizer = optim.SGD([{"params": [np.ones(4)]}, {"params": [np.ones(4)]}], lr=0.1)
    optimizer.step([GRAD, GRAD])
    return optimizer


def test_groups_that_go_away_while_they_are_read():
    optimizer = two_groups()
    optimizer.param_groups[0]["lr"] = Acting(optimizer.param_groups.clear)
    optimizer.step([GRAD, GRAD])
    with pytest.raises(ValueError, match="param_groups has 0 groups, the optimizer 2"):
        optimizer.step([GRAD, GRAD])


def test_groups_that_were_taken_out_are_missed():
    """The next group's numbers must not be used for another's parameters."""
    p, q = np.ones(4), np.ones(4)
    optimizer = optim.SGD([{"params": [p]}, {"params": [q], "lr": 0.5}], lr=0.1)
    del optimizer.param_groups[0]
    with pytest.raises(ValueError, match="SGD: param_groups has 1 groups, the optimizer 2"):
        optimizer.step([GRAD, GRAD])
    np.testing.assert_array_equal([p, q], np.ones((2, 4)))


def test_a_list_that_shrinks_while_it_is_read():
    optimizer = optim.Adam([np.ones(4)])
    optimizer.step([GRAD])
    betas = [None, 0.9]
    betas[0] = Acting(betas.clear)
    optimizer.param_groups[0]["betas"] = betas
    optimizer.step([GRAD])
    with pytest.raises(TypeError, match=r"betas=\[\]; expected a pair"):
        optimizer.step([GRAD])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, RuntimeError])
def test_what_is_raised_while_a_number_is_read_comes_through(error):
    p = np.ones(4)
    optimizer = optim.Adam([p])
    optimizer.step([GRAD])
    before = p.copy()

    def refuse():
        raise error

    optimizer.param_groups[0]["lr"] = Acting(refuse)
    with pytest.raises(error):
        optimizer.step([GRAD])
    np.testing.assert_array_equal(p, before)
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step([GRAD])


def test_a_state_cannot_be_loaded_while_gradients_are_made():
    p = np.ones(4)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    optimizer.step([GRAD])
    saved, before = optimizer.state_dict(), p.copy()

    def gradients():
        optimizer.load_state_dict(saved)
        yield GRAD

    with pytest.raises(RuntimeError, match="load_state_dict: this optimizer is in the middle of a step"):
        optimizer.step(gradients())
    np.testing.assert_array_equal(p, before)
    np.testing.assert_equal(optimizer.state_dict(), saved)


def test_a_state_cannot_be_loaded_while_a_number_is_read():
    p = np.ones(4)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    optimizer.step([GRAD])
    saved = optimizer.state_dict()
    optimizer.param_groups[0].update(lr=Acting(lambda: optimizer.load_state_dict(saved)), dampening=0.5)
    before = p.copy()
    with pytest.raises(RuntimeError, match="load_state_dict: this optimizer is in the middle of a step"):
        optimizer.step([GRAD])
    np.testing.assert_array_equal(p, before)
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step([GRAD])
    assert optimizer.state[p]["step"] == 2


class Referring(float):
    """A number of a class that users define."""


@pytest.mark.parametrize("kind", ["acting", "subclass", "list"])
def test_an_optimizer_is_collected_whatever_its_groups_hold(kind):
    optimizer = optim.Adam([np.ones(4)])
    number = Acting(lambda: None) if kind == "acting" else Referring(0.1)
    number.optimizer = optimizer
    optimizer.param_groups[0].update({"betas": [number, 0.9]} if kind == "list" else {"lr": number})
    for _ in range(2):
        optimizer.step([GRAD])
    gone = weakref.ref(optimizer)
    del optimizer, number
    gc.collect()
    assert gone() is None


def test_a_number_of_a_class_of_its_own_says_itself_what_it_is():
    class Half(float):
        def __float__(self):
            return 0.5

    p, q = np.ones(4), np.ones(4)
    optimizer, other = optim.SGD([p], lr=0.1), optim.SGD([q], lr=0.5)
    optimizer.step([0 * GRAD])
    optimizer.param_groups[0]["lr"] = Half(0.1)
    for each in (optimizer, other):
        each.step([GRAD])
    np.testing.assert_array_equal(p, q)


def test_a_number_in_a_tuple_may_become_another():
    """The tuple stays the same object; what it holds is read at every step."""

    p, q, beta = np.ones(4), np.ones(4), np.array(0.9)
    optimizer, other = optim.Adam([p]), optim.Adam([q])
    optimizer.param_groups[0]["betas"] = (beta, 0.999)
    for value in (0.9, 0.9, 0.5):
        beta[...] = value
        other.param_groups[0]["betas"] = (value, 0.999)
        for each in (optimizer, other):
            each.step([GRAD])
    np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("value", [np.float32(5), Fraction(5), np.array(5.0), np.True_, True, 5.5, "5"])
def test_whole_numbers_are_whole_numbers_later_too(value):
    optimizer = optim.SGDScheduleFree([np.ones(4)])
    optimizer.step([GRAD])
    optimizer.param_groups[0]["warmup_steps"] = value
    with pytest.raises((TypeError, ValueError), match="warmup_steps"):
        optimizer.step([GRAD])
    optimizer.param_groups[0]["warmup_steps"] = np.int64(5)
    optimizer.step([GRAD])


@pytest.mark.parametrize("key", ["maximize", "nesterov"])
def test_flags_are_flags_later_too(key):
    optimizer = optim.SGD([np.ones(4)])
    optimizer.step([GRAD])
    optimizer.param_groups[0][key] = 0.0
    with pytest.raises(TypeError, match=f"{key}=0.0; expected True or False"):
        optimizer.step([GRAD])


def test_limits_may_be_given_as_anything_that_is_a_number():
    optim.Rprop([np.ones(4)], step_sizes=(Fraction(1, 2), 50.0)).step([GRAD])


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (None, TypeError, "sequence"),
        ([{"lr": 0.1}] * 2, ValueError, "Add a group with add_param_group"),
        ([3], TypeError, ""),
    ],
)
def test_what_are_no_groups(groups, error, message):
    p = np.ones(4)
    optimizer = optim.SGD([p])
    optimizer.step([GRAD])
    before = p.copy()
    optimizer.param_groups = groups
    with pytest.raises(error, match=message or None):
        optimizer.step([GRAD])
    np.testing.assert_array_equal(p, before)
