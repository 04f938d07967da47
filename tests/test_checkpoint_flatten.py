"""States as plain arrays and JSON: through np.savez without pickle, and through json, back to the same."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from cases import CASES
from checkpoint_cases import assert_same
from closure_cases import CLOSURE_CASES, quadratic
from handoffs import GRADS, pair, run
from ravine import nn, optim
from ravine.checkpoint import flatten, unflatten
from schedule_cases import CASES as SCHEDULES
from schedule_cases import make


def through_files(state):
    """Return a state after it has been in a .npz and in JSON text, each as strict as can be."""
    arrays, rest = flatten(state)
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    text = json.dumps(rest, allow_nan=False)
    with np.load(file, allow_pickle=False) as loaded:
        assert set(loaded.files) == set(arrays)
        return unflatten(loaded, json.loads(text))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_optimizer(case):
    for settings in case.configs:
        params = [case.shaped(np.ones(5)), case.shaped(np.ones(2)), np.asfortranarray(np.ones((3, 4)))]
        optimizer = case.optimizer(params, **settings)
        for k in range(3):
            optimizer.step([np.full_like(p, k + 1.0) for p in params])
        state = optimizer.state_dict()
        back = through_files(state)
        assert_same(back, state)
        other = case.optimizer([p.copy(order="K") for p in params], **settings)
        other.load_state_dict(back)
        assert_same(other.state_dict(), state)


@pytest.mark.parametrize("case", CLOSURE_CASES, ids=lambda case: case.name)
def test_every_optimizer_with_a_closure(case):
    x = np.ones(8)
    optimizer = case.optimizer([x], max_iter=3)

    def closure():
        loss, gradient = quadratic(x)
        return loss, [gradient]

    optimizer.step(closure)
    assert_same(through_files(optimizer.state_dict()), optimizer.state_dict())


def test_a_handoff():
    w = np.ones(5)
    handoff = optim.Handoff(pair(w), at=[7])
    run(handoff, GRADS[:9])
    assert_same(through_files(handoff.state_dict()), handoff.state_dict())


@pytest.mark.parametrize("case", SCHEDULES, ids=lambda case: case.id)
def test_every_schedule(case):
    schedule = make(case)
    for _ in range(3):
        schedule.step()
    assert_same(through_files(schedule.state_dict()), schedule.state_dict())


def test_the_plateau_whose_best_is_infinite():
    schedule = optim.lr_scheduler.ReduceLROnPlateau(optim.SGD([np.ones(1)]))
    assert schedule.state_dict()["best"] == math.inf
    assert_same(through_files(schedule.state_dict()), schedule.state_dict())


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.Dropout(0.5, seed=2**64 - 1)], ids=["BatchNorm1d", "Dropout"])
def test_layers(layer):
    layer(np.random.default_rng(0).standard_normal((4, 3), np.float32))
    assert_same(through_files(layer.state_dict()), layer.state_dict())


HARD = {
    "names alike": {"a/b": np.ones(1), "a": {"b": np.zeros(1)}, "a b": np.ones(2), "a_b": np.ones(3)},
    "keys": {0: np.zeros(1), "0": np.ones(1), (1, "x"): 2, None: 3, True: np.ones(2), 1.5: []},
    "tags": {"$array": "x", "$tuple": np.ones(1)},
    "one tag": {"$array": "x"},
    "np.savez's own names": {"file": np.ones(1), "allow_pickle": np.ones(2)},
    "names of files": {"x": np.ones(1), "x.npy": np.ones(2), "..": np.ones(3), "../../etc": np.ones(4), "": np.ones(5)},
    "long names": {"n" * 5000: np.ones(1), "n" * 5001: np.ones(2)},
    "numbers": [1, -(2**200), 0.1, -0.0, math.inf, -math.inf, math.nan, 5e-324, True, False, None],
    "text": ["", "\ud800", "π", 'quote"', "\0"],
    "tuples": (1, (2, ()), [3, (4,)]),
    "NumPy numbers": [np.int8(-3), np.bool_(True), np.float64(0.5), np.str_("x"), np.datetime64(0, "s")],
    "arrays": [
        np.array(3.5),
        np.zeros((0, 4), np.float16),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(3, dtype=">f4"),
        np.array(["a", "bc"]),
        np.array([b"x"]),
        np.array([1 + 2j]),
        np.array([True]),
        np.array(["2026-01-01"], "M8[D]"),
    ],
    "nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_hard_values(name):
    assert_same(through_files(HARD[name]), HARD[name])


@pytest.mark.parametrize("name", ["names of files", "long names"])
def test_names_can_be_those_of_files(name):
    for each in flatten(HARD[name])[0]:
        assert len(each) < 255
        assert not {"", ".", ".."} & set(each.split("/"))


def test_an_array_alone_and_what_exposes_memory():
    arrays, rest = flatten(np.ones(2))
    assert_same(unflatten(arrays, rest), np.ones(2))
    import array

    assert_same(through_files([array.array("d", [1.0, 2.0])]), [np.array([1.0, 2.0])])


def test_arrays_are_not_copied():
    w = np.ones(2)
    assert flatten({"w": w})[0]["w"].base is w


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, {2}]}, r"the state\['a'\]\[1\] is a set; expected None, True or False, int, float, str, an array"),
        ({"a": b"x"}, r"\['a'\] is a bytes"),
        ({"a": 1j}, r"\['a'\] is a complex"),
        ({"f": len}, r"\['f'\] is a builtin_function"),
        ({"a": np.array([None])}, r"\['a'\] is object, shape \(1,\); expected an array of numbers, text or dates"),
        ({"a": np.zeros(2, "i4,f4")}, r"\['a'\] is .*; expected an array of numbers"),
        ({"a": np.ma.masked_array([1, 2], [0, 1])}, r"\['a'\] is a MaskedArray; expected None"),
        ({"a": 10**5000}, r"\['a'\] is an int of 16610 bits; expected 14000 at most"),
        ({frozenset(): 1}, r"the state has a key frozenset\(\), a frozenset"),
    ],
)
def test_what_cannot_be_saved_is_named_by_its_place(state, message):
    with pytest.raises(TypeError, match=message):
        flatten(state)


def test_memory_that_is_gone_is_named_by_its_place():
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(TypeError, match=r"^flatten: the state\['a'\]: cannot see the memory of memoryview"):
        flatten({"a": view})


def test_a_state_that_contains_itself():
    state = {}
    state["self"] = state
    with pytest.raises(TypeError, match="nested too deeply, or contains itself"):
        flatten(state)


@pytest.mark.parametrize(
    "rest",
    [
        {"$array": "missing"},
        {"$array": []},
        {"$scalar": 3},
        {"$tuple": 3},
        {"$dict": [[1]]},
        {"$dict": [[[], 1]]},
        {"$float": "x"},
        {"$float": None},
        {"$code": "1"},
    ],
)
def test_what_flatten_did_not_make(rest):
    with pytest.raises(ValueError, match="this is not what flatten returned"):
        unflatten({}, rest)
