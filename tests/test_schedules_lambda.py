"""LambdaLR in training: stepping, looking ahead, saving, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from ravine import optim
from ravine.optim.lr_scheduler import LambdaLR, LRScheduler
from schedule_helpers import lrs


@pytest.fixture
def optimizer():
    return optim.SGD([{"params": [np.zeros(1)]}, {"params": [np.zeros(1)], "lr": 10}], lr=100)


def train(optimizer, schedule, steps):
    seen = []
    for _ in range(steps):
        optimizer.step([np.ones(1), np.ones(1)])
        seen.append(lrs(optimizer))
        schedule.step()
    return seen


def test_the_formula(optimizer):
    schedule = LambdaLR(optimizer, lr_lambda=lambda epoch: 0.65**epoch)
    assert train(optimizer, schedule, 10) == [[100 * 0.65**t, 10 * 0.65**t] for t in range(10)]
    assert schedule.last_epoch == 10
    assert schedule.get_last_lr() == lrs(optimizer) == schedule.lr_at(10)


def test_one_function_for_each_group(optimizer):
    schedule = LambdaLR(optimizer, [lambda t: 0.5**t, lambda t: 1.0])
    assert train(optimizer, schedule, 3) == [[100, 10], [50, 10], [25, 10]]


def test_looking_ahead_changes_nothing(optimizer):
    schedule = LambdaLR(optimizer, lambda t: 0.5**t)
    assert [schedule.lr_at(t)[0] for t in (3, 0, 2)] == [12.5, 100, 25]
    assert (lrs(optimizer), schedule.last_epoch) == ([100, 10], 0)


def test_jumping(optimizer):
    schedule = LambdaLR(optimizer, lambda t: 0.5**t)
    optimizer.step([np.ones(1)] * 2)
    schedule.step(3)
    assert lrs(optimizer) == [12.5, 1.25]
    schedule.step()
    assert schedule.last_epoch == 4


class Decay:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, t):
        return self.rate**t


@pytest.mark.parametrize("at", [0, 1, 5])
def test_resuming(optimizer, at):
    schedule = LambdaLR(optimizer, [Decay(0.5), Decay(0.9)])
    train(optimizer, schedule, at)
    saved = pickle.loads(pickle.dumps((optimizer.state_dict(), schedule.state_dict())))
    expected = train(optimizer, schedule, 4)
    groups = [{"params": [np.zeros(1)]}, {"params": [np.zeros(1)], "lr": 7}]
    for schedule_first in (True, False):
        other = optim.SGD(groups, lr=1)
        if schedule_first:
            resumed = LambdaLR(other, [Decay(0.1), Decay(0.1)])
            other.load_state_dict(saved[0])
        else:
            other.load_state_dict(saved[0])
            resumed = LambdaLR(other, [Decay(0.1), Decay(0.1)], last_epoch=saved[1]["last_epoch"] - 1)
        resumed.load_state_dict(saved[1])
        other.load_state_dict(saved[0])
        assert train(other, resumed, 4) == expected


def test_functions_are_not_saved(optimizer):
    assert LambdaLR(optimizer, lambda t: 1.0).state_dict()["lr_lambdas"] == [None, None]


def test_stepping_before_the_optimizer_warns(optimizer):
    schedule = LambdaLR(optimizer, lambda t: 0.5**t)
    with pytest.warns(UserWarning, match=r"LambdaLR.step\(\) was called before optimizer.step\(\)") as warned:
        schedule.step()
    assert warned[0].filename == __file__, "it names another line than the caller's"
    schedule.step()


@pytest.mark.parametrize(
    ("arguments", "exception", "text"),
    [
        ({"lr_lambda": 0.5}, TypeError, r"LambdaLR: lr_lambda is a float; expected a function of the step"),
        ({"lr_lambda": [abs]}, ValueError, r"lr_lambda has 1 values for 2 parameter groups"),
        ({"lr_lambda": abs, "last_epoch": -2}, ValueError, r"last_epoch=-2; expected -1 to start anew"),
        ({"lr_lambda": abs, "last_epoch": 3}, ValueError, r"param_groups\[0\] has no 'initial_lr'"),
        ({"lr_lambda": abs, "optimizer": 3}, TypeError, r"optimizer is a int; expected a ravine.optim optimizer"),
    ],
)
def test_refused(optimizer, arguments, exception, text):
    with pytest.raises(exception, match=text):
        LambdaLR(**{"optimizer": optimizer, **arguments})
    assert "initial_lr" not in optimizer.param_groups[0]


def test_a_state_that_does_not_fit(optimizer):
    schedule = LambdaLR(optimizer, lambda t: 0.5**t)
    before = schedule.state_dict()
    for change, text in (
        ({"last_epoch": None}, "'last_epoch' is missing"),
        ({"base_lrs": [1.0]}, "base_lrs has 1 values; expected those of 2 groups"),
        ({"lr_lambdas": [None]}, "lr_lambdas has 1 entries; expected a list of 2"),
    ):
        saved = {key: value for key, value in {**before, **change}.items() if value is not None}
        with pytest.raises(ValueError, match=text):
            schedule.load_state_dict(saved)
        assert schedule.state_dict() == before


def test_a_schedule_of_ones_own(optimizer):
    class Halving(LRScheduler):
        def lr_at(self, t):
            return [base / 2**t for base in self.base_lrs]

    schedule = Halving(optimizer)
    assert train(optimizer, schedule, 2) == [[100, 10], [50, 5]]


def test_groups_added_later_keep_their_learning_rate(optimizer):
    schedule = LambdaLR(optimizer, lambda t: 0.5**t)
    optimizer.add_param_group({"params": [np.zeros(1)], "lr": 7})
    optimizer.step([np.ones(1)] * 3)
    schedule.step()
    assert lrs(optimizer) == [50, 5, 7]
