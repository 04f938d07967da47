"""Schedule-free optimizers: which of its two forms the parameters are in."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from ravine import nn, optim

CLASSES = [optim.SGDScheduleFree, optim.AdamWScheduleFree]
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def average_of_the_paper(cls, start, grads, lr, beta, warmup):
    """Return y and x as the paper defines them, all three sequences written down (equations 1 to 3)."""
    x, z, v, total = start.copy(), start.copy(), np.zeros_like(start), 0.0
    for t, g in enumerate(grads, 1):
        rate = lr * min(1.0, t / warmup)
        u = g
        if cls is optim.AdamWScheduleFree:
            v = 0.999 * v + 0.001 * g**2
            u = g / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        total += rate**2
        c = rate**2 / total
        z = z - rate * u
        x = (1 - c) * x + c * z
    return beta * x + (1 - beta) * z, x


@each_class
def test_eval_gives_the_average_and_train_the_way_back(cls):
    rng = np.random.default_rng(0)
    start, *grads = rng.standard_normal((31, 3, 5))
    expected_y, expected_x = average_of_the_paper(cls, start, grads, 0.05, 0.9, 10)
    for order in "CF":
        p = np.array(start, order=order)
        optimizer = cls([p], lr=0.05, warmup_steps=10)
        for g in grads:
            optimizer.step([g])
        np.testing.assert_allclose(p, expected_y, rtol=1e-10)
        y = p.copy()
        optimizer.train()  # nothing to do
        np.testing.assert_array_equal(p, y)
        optimizer.eval()
        np.testing.assert_allclose(p, expected_x, rtol=1e-10)
        x = p.copy()
        optimizer.eval()  # nothing to do
        np.testing.assert_array_equal(p, x)
        optimizer.train()
        np.testing.assert_allclose(p, y, rtol=1e-13)


@each_class
def test_only_parameters_that_have_stepped_turn(cls):
    p, late = np.ones(3), np.ones(2)
    optimizer = cls([{"params": [p]}, {"params": [late]}], lr=0.5)
    optimizer.eval()
    optimizer.train()
    assert p.tolist() == [1, 1, 1]
    for _ in range(3):
        optimizer.step([np.ones(3), None])
    y = p.copy()
    optimizer.eval()
    assert (p != y).all()
    assert late.tolist() == [1, 1]
    assert [group["train_mode"] for group in optimizer.param_groups] == [False, False]


@each_class
def test_the_first_gradient_finds_the_parameter_as_it_is_then(cls):
    """z starts where the parameter is at its own first step, not where it was when the optimizer was made."""
    p, late, fresh = np.ones(3), np.ones(2), np.full(2, 5.0)
    optimizer, other = cls([p, late]), cls([fresh])
    optimizer.step([np.ones(3), None])
    late[:] = 5
    optimizer.step([np.ones(3), np.ones(2)])
    other.step([np.ones(2)])
    np.testing.assert_array_equal(late, fresh)
    np.testing.assert_array_equal(optimizer.state[late]["z"], other.state[fresh]["z"])


@each_class
def test_a_step_after_eval_is_refused(cls):
    p = np.ones(3)
    optimizer = cls([p])
    optimizer.step([np.ones(3)])
    optimizer.eval()
    before, x = optimizer.state_dict(), p.copy()
    with pytest.raises(RuntimeError, match=rf"{cls.__name__}: step\(\) after eval\(\): .* Call train\(\) first"):
        optimizer.step([np.ones(3)])
    np.testing.assert_equal(optimizer.state_dict(), before)
    np.testing.assert_array_equal(p, x)
    optimizer.train()
    optimizer.step([np.ones(3)])


@each_class
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_checkpoints_in_either_form(cls, mode):
    """Parameters and state together go on to the same bits, and give the same average, in whichever form they were."""
    rng = np.random.default_rng(1)
    start, *grads = rng.standard_normal((10, 5)).astype(np.float32)
    p = start.copy()
    optimizer = cls([p], lr=0.05)
    for g in grads[:4]:
        optimizer.step([g])
    getattr(optimizer, mode)()
    weights, saved = p.copy(), pickle.loads(pickle.dumps(optimizer.state_dict()))
    assert saved["param_groups"][0]["train_mode"] == (mode == "train")

    q = weights.copy()
    resumed = cls([q])
    resumed.load_state_dict(saved)
    twin = copy.deepcopy(resumed)
    ends = []
    for other, array in ((optimizer, p), (resumed, q), (twin, twin.param_groups[0]["params"][0].data)):
        other.eval()
        average = array.copy()
        other.train()
        for g in grads[4:]:
            other.step([g])
        ends.append((average, array))
    for average, array in ends[1:]:
        np.testing.assert_array_equal(average, ends[0][0])
        np.testing.assert_array_equal(array, ends[0][1])


@each_class
def test_turning_inside_a_step_is_refused(cls):
    p = nn.Parameter(np.ones(3))
    optimizer = cls([p])
    for turn in (optimizer.eval, optimizer.train):
        with pytest.raises(RuntimeError, match=r"(train|eval): this optimizer is in the middle of a step"):
            optimizer.step(closure=turn)
    optimizer.step()


@each_class
def test_what_cannot_be_turned_is_found_before_anything_changes(cls):
    p, q = np.ones(3), np.ones(2)
    optimizer = cls([{"params": [p]}, {"params": [q]}], lr=0.5)
    for _ in range(2):
        optimizer.step([np.ones(3), np.ones(2)])
    before = p.copy()
    q.flags.writeable = False
    with pytest.raises(ValueError, match=r"param_groups\[1\]\['params'\]\[0\].*read-only"):
        optimizer.eval()
    q.flags.writeable = True
    optimizer.param_groups[1]["lr"] = -1
    with pytest.raises(ValueError, match=r"param_groups\[1\]: lr=-1 is negative"):
        optimizer.eval()
    np.testing.assert_array_equal(p, before)
    assert all(group["train_mode"] for group in optimizer.param_groups)


@each_class
def test_data_that_has_been_replaced_is_not_turned(cls):
    class Weight:
        def __init__(self):
            self.data, self.grad = np.ones(2), np.ones(2)

    weight = Weight()
    optimizer = cls([weight])
    optimizer.step()
    weight.data = weight.data.copy()
    with pytest.raises(ValueError, match=r"the data of params\[0\] has been replaced"):
        optimizer.eval()
