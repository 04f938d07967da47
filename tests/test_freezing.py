"""Frozen parameters: steps leave them alone, whatever their gradients, as if these were None."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from cases import CASES
from ravine import nn, optim
from ravine.optim import swa_utils

NAMES = ("stem.w", "head.w", "head.b")
CLIPPED = {"max_norm": 0.5, "skip_nonfinite": True}


def made(case, settings=(), dtype=np.float64):
    rng = np.random.default_rng(1)
    params = {name: case.shaped(rng.standard_normal(6)).astype(dtype) for name in NAMES}
    return params, case.optimizer(params, **dict(settings))


def gradients(params, steps):
    rng = np.random.default_rng(2)
    return [{name: rng.standard_normal(p.shape).astype(p.dtype) for name, p in params.items()} for _ in range(steps)]


def everything(params, optimizer):
    """Return a copy of all that a step may write to."""
    return copy.deepcopy((params, {i: dict(s) for i, s in optimizer.state_dict()["state"].items()}))


def assert_same(one, other):
    (params, states), (others, other_states) = one, other
    for name in params:
        np.testing.assert_array_equal(params[name], others[name], err_msg=name)
    assert states.keys() == other_states.keys()
    for i, state in states.items():
        assert state.keys() == other_states[i].keys()
        for key, value in state.items():
            np.testing.assert_array_equal(value, other_states[i][key], err_msg=f"{i}: {key}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_step_is_that_without_their_gradients(case):
    """In every optimizer, before a state exists and after, with a norm and without."""
    (params, optimizer), (others, other) = made(case), made(case)
    for t, grads in enumerate(gradients(params, 9)):
        if t == 3:
            assert optimizer.freeze("head") == ["head.w", "head.b"]
        if t == 7:
            assert optimizer.unfreeze("*.b") == ["head.b"]
        still = [["head.w", "head.b"], ["head.w"]][t >= 7] if t >= 3 else []
        options = CLIPPED if t % 2 else {}
        given = {name: g * np.nan if name in still else g for name, g in grads.items()}
        optimizer.step(given, **options)
        other.step({name: None if name in still else g for name, g in grads.items()}, **options)
        assert optimizer.last_step == other.last_step
        assert_same(everything(params, optimizer), everything(others, other))
    moved = [not np.array_equal(params[name], made(case)[0][name]) for name in NAMES]
    assert moved == [True] * 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frozen_from_the_start(case):
    params, optimizer = made(case)
    before = copy.deepcopy(params)
    optimizer.freeze("head.?")
    for grads in gradients(params, 2):
        optimizer.step([*grads.values()])
    for name in NAMES:
        assert np.array_equal(params[name], before[name]) == (name != "stem.w")
    assert optimizer.state[params["stem.w"]]["step"] == 2
    assert not any(optimizer.state[params[name]] for name in ("head.w", "head.b"))


@pytest.mark.parametrize("dense", [True, False])
def test_their_gradients_are_set_to_zero(dense):
    """Else those that add up in Parameter.grad would all come at once when it is frozen no more."""
    params = [nn.Parameter(np.ones((3, 2)), name) for name in ("a", "b")]
    optimizer = optim.SGD(params, lr=1)
    optimizer.freeze("b")
    for param in params:
        param.grad = np.ones((3, 2)) if dense else optim.SparseGrad(np.array([1, 1]), np.ones((2, 2)), (3, 2))
    optimizer.step(zero_grad=True)
    assert params[0].data[1, 0] == (0 if dense else -1)
    np.testing.assert_array_equal(params[1].data, 1)
    for param in params:
        assert not np.any(param.grad if dense else param.grad.values)
    params[1].grad = np.asfortranarray(np.ones((3, 2)))
    optimizer.step_param("b", params[1].grad, zero_grad=True)
    assert not params[1].grad.any()
    read_only = np.ones((3, 2))
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only and cannot be set to zero"):
        optimizer.step([None, read_only], zero_grad=True)


def test_their_gradients_are_checked():
    a = np.ones(2)
    optimizer = optim.SGD({"a": a, "b": np.ones(2)}, lr=1)
    optimizer.freeze("b")
    for wrong in (np.ones(3), np.ones(2, np.float32), a):
        with pytest.raises(ValueError, match="its gradient"):
            optimizer.step([np.ones(2), wrong])
    with pytest.raises(ValueError, match="no gradient for 'b'"):
        optimizer.step({"a": np.ones(2)})
    assert a.tolist() == [1, 1]


def test_a_norm_of_frozen_gradients_alone():
    optimizer = optim.SGD({"a": np.ones(2)}, lr=1)
    optimizer.freeze("a")
    optimizer.step([np.ones(2)])
    with pytest.raises(ValueError, match="max_norm needs a gradient"):
        optimizer.step([np.ones(2)], max_norm=1)


def test_parameter_by_parameter():
    params, optimizer = made(CASES[0])
    before = copy.deepcopy(params)
    (grads,) = gradients(params, 1)
    optimizer.freeze("head.w")
    for name in ("head.w", "stem.w", "head.w", "head.b"):  # what a frozen one is given does not count
        optimizer.step_param(name, grads[name])
    optimizer.end_step()
    assert [np.array_equal(params[name], before[name]) for name in NAMES] == [False, True, False]
    optimizer.step_param("head.w", grads["head.w"])
    with pytest.raises(RuntimeError, match="no parameter has been updated"):
        optimizer.end_step()
    optimizer.step_param("stem.w", grads["stem.w"])
    optimizer.unfreeze("head.w")  # also in the middle
    optimizer.step_param("head.w", grads["head.w"])
    optimizer.end_step()
    assert not np.array_equal(params["head.w"], before["head.w"])


def test_averages_go_on():
    """As without a gradient: towards the parameter as it is."""
    params, optimizer = made(CASES[0])
    average = swa_utils.ExponentialMovingAverage(optimizer, decay=0.5)
    first, second = gradients(params, 2)
    optimizer.step(first)
    before = average.arrays[0].copy()
    optimizer.freeze("stem")
    optimizer.step(second)
    np.testing.assert_allclose(average.arrays[0], 0.5 * before + 0.5 * params["stem.w"], rtol=1e-15)


def test_schedule_free_turns_them():
    """What train() and eval() do concerns the group, whose mode it is."""
    params = {name: np.ones(3) for name in NAMES}
    optimizer = optim.SGDScheduleFree(params, lr=0.1)
    for grads in gradients(params, 3):
        optimizer.step(grads)
    optimizer.freeze("stem")
    y = params["stem.w"].copy()
    optimizer.eval()
    assert not np.array_equal(params["stem.w"], y)
    optimizer.train()
    np.testing.assert_allclose(params["stem.w"], y, rtol=1e-12)


class TestWhichAreFrozen:
    def test_names(self):
        optimizer = optim.SGD([{"params": {"b": np.ones(1), "a": np.ones(1)}}, {"params": {"x.a": np.ones(1)}}], lr=1)
        assert optimizer.frozen == []
        assert optimizer.freeze("x", "b") == ["b", "x.a"]
        assert optimizer.freeze("a") == ["a", "x.a"]
        assert optimizer.frozen == ["b", "a", "x.a"]
        assert optimizer.unfreeze("x.a", "[b-z]") == ["b", "x.a"]
        assert optimizer.frozen == ["a"]
        assert optimizer.unfreeze("*") == ["b", "a", "x.a"]
        assert optimizer.frozen == []

    def test_whole_components(self):
        names = ["heads.w", "head", "net.head.b", "Head.w", "a.heads", "blocks.1.w", "blocks.10.w", "net.blocks.2.w"]
        optimizer = optim.SGD({name: np.ones(1) for name in names}, lr=1)
        assert optimizer.freeze("head") == ["head", "net.head.b"]
        assert optimizer.freeze("blocks.1") == ["blocks.1.w"]
        assert optimizer.freeze("blocks.?.w") == ["blocks.1.w", "net.blocks.2.w"]
        assert optimizer.freeze("blocks.*") == ["blocks.1.w", "blocks.10.w", "net.blocks.2.w"]
        assert optimizer.freeze("head*") == ["heads.w", "head", "net.head.b", "a.heads"]

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
    @pytest.mark.parametrize("handoff", [False, True])
    def test_copies_have_the_same(self, copied, handoff):
        params = [nn.Parameter(np.ones(2), name) for name in "ab"]
        optimizer = optim.SGD(params, lr=1)
        if handoff:
            optimizer = optim.Handoff([optimizer, optim.Adam(params)])
        optimizer.freeze("a")
        other = copied(optimizer)
        assert other.frozen == ["a"]
        other.step(ones_for(other))
        assert [record.array.tolist() for record in other._records] == [[1, 1], [0, 0]]
        other.unfreeze("a")
        assert optimizer.frozen == ["a"]

    def test_a_group_more_keeps_them(self):
        optimizer = optim.SGD({"a": np.ones(2)}, lr=1)
        optimizer.freeze("a")
        late = np.ones(2)
        optimizer.add_param_group({"params": {"b": late}})
        optimizer.step(ones_for(optimizer))
        assert optimizer.frozen == ["a"]
        assert optimizer.state_dict()["state"].keys() == {1}

    def test_loading_leaves_them(self):
        """As torch's requires_grad they are not part of the state."""
        optimizer, other = (optim.SGD({"a": np.ones(2), "b": np.ones(2)}, lr=1) for _ in range(2))
        optimizer.freeze("a")
        other.freeze("b")
        saved = optimizer.state_dict()
        optimizer.step(ones_for(optimizer))
        other.load_state_dict(saved)
        assert (optimizer.frozen, other.frozen) == (["a"], ["b"])
        other.step(ones_for(other))
        assert [record.array.tolist() for record in other._records] == [[0, 0], [1, 1]]

    def test_all_stages_of_a_handoff(self):
        a, b = np.ones(2), np.ones(2)
        stages = [optim.SGD({"a": a, "b": b}, lr=1), optim.Adam({"a": a, "b": b})]
        handoff = optim.Handoff(stages, at=[1])
        assert handoff.freeze("a") == ["a"]
        assert [stage.frozen for stage in stages] == [["a"], ["a"]]
        for _ in range(2):
            handoff.step([np.ones(2), np.ones(2)])
        assert handoff.stage == 1
        assert a.tolist() == [1, 1]
        assert b[0] < 0
        handoff.unfreeze("a")
        assert handoff.frozen == []
        handoff.step([np.ones(2), np.ones(2)])
        assert a[0] < 1


def ones_for(optimizer):
    return [np.ones_like(record.array) for record in optimizer._records]


def test_gradients_as_a_list_still_go_straight_to_the_compiled_part():
    optimizer = optim.SGD({"a": np.ones(2), "b": np.ones(2)}, lr=1)
    optimizer.step(ones_for(optimizer))
    plan = optimizer._plan
    optimizer.freeze("a")
    optimizer.step(ones_for(optimizer))
    assert optimizer._direct is plan
    assert optimizer._plan is plan


class TestRefused:
    @pytest.mark.parametrize("method", ["freeze", "unfreeze"])
    def test_bad_patterns(self, method):
        optimizer = optim.SGD({"head.w": np.ones(1), "head.b": np.ones(1)}, lr=1)
        optimizer.freeze("head.w")
        act = getattr(optimizer, method)
        with pytest.raises(
            ValueError, match=rf"SGD.{method}: 'haed' matches no name of a parameter.*\['head.w', 'head.b"
        ):
            act("head", "haed")
        with pytest.raises(TypeError, match=rf"SGD.{method}: a pattern is int; expected text"):
            act("head", 0)
        with pytest.raises(TypeError, match=rf"SGD.{method}: a pattern is list"):
            act(["head"])
        with pytest.raises(TypeError, match=rf"SGD.{method}: no pattern came"):
            act()
        assert optimizer.frozen == ["head.w"]
        unnamed = optim.SGD([np.ones(1)], lr=1)
        with pytest.raises(ValueError, match=rf"SGD.{method}: its parameters have no names; give them as a dict"):
            getattr(unnamed, method)("*")

    def test_lbfgs(self):
        params = {"a": np.ones(2), "b": np.ones(2)}
        lbfgs = optim.LBFGS(params)
        with pytest.raises(ValueError, match=r"LBFGS: it can freeze no parameter.*Make a new LBFGS of those"):
            lbfgs.freeze("a")
        handoff = optim.Handoff([optim.SGD(params), lbfgs])
        with pytest.raises(ValueError, match="LBFGS: it can freeze no parameter"):
            handoff.freeze("a")
        assert lbfgs.frozen == handoff.frozen == []

    def test_stages_that_differ(self):
        params = {"a": np.ones(2), "b": np.ones(2)}
        handoff = optim.Handoff([optim.SGD(params), optim.Adam(params)])
        handoff.optimizers[0].add_param_group({"params": {"c": np.ones(2)}})
        with pytest.raises(ValueError, match="have 3 and 2 parameters"):
            handoff.freeze("*")
        assert [stage.frozen for stage in handoff.optimizers] == [[], []]

    def test_in_the_middle_of_a_step(self):
        optimizer = optim.SGD({"a": np.ones(2)}, lr=1)
        optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: optimizer.freeze("a"))
        with pytest.raises(RuntimeError, match=r"SGD.freeze: this optimizer is in the middle of a step"):
            optimizer.step([np.ones(2)])
        assert optimizer.frozen == []
        errors = []

        def closure():
            def freeze():
                try:
                    other.freeze("a")
                except RuntimeError as error:
                    errors.append(str(error))

            thread = threading.Thread(target=freeze)
            thread.start()
            thread.join(30)
            return [0.0]

        other = optim.SGD({"a": nn.Parameter(np.ones(2))}, lr=1)
        other.step(closure)
        assert "in the middle of a step" in errors[0]
        assert other.frozen == []


def test_ctrl_c_freezes_all_stages_or_none(monkeypatch):
    a = np.ones(2)
    stages = [optim.SGD({"a": a}, lr=1), optim.Adam({"a": a})]
    handoff = optim.Handoff(stages)
    for stage in stages:
        stage.step([np.ones(2)])  # so that there are plans
    before = a.copy()
    left = [2]  # how often it comes
    freezer = stages[1]._freezer

    def interrupted(positions, is_frozen):
        freeze = freezer(positions, is_frozen)

        def act():
            if left[0]:
                left[0] -= 1
                raise KeyboardInterrupt
            freeze()

        return act

    monkeypatch.setattr(stages[1], "_freezer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        handoff.freeze("a")
    handoff.step([np.ones(2)])  # does first what has been interrupted
    assert left == [0]
    assert [stage.frozen for stage in stages] == [["a"], ["a"]]
    handoff.switch()
    handoff.step([np.ones(2)])
    np.testing.assert_array_equal(a, before)
