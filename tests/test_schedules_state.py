"""What `state_dict` holds and refuses, and copies of schedules."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ravine import optim
from ravine.optim.lr_scheduler import (
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)
from schedule_cases import CASES, make, ravine_optimizer, sequence
from schedule_helpers import Half, first_lrs, one_group


def test_a_state_is_a_copy():
    function = Half()
    function.history = []
    schedule = SequentialLR(o := one_group(), [LambdaLR(o, function), MultiStepLR(o, [3])], [4])
    state = schedule.state_dict()
    before = copy.deepcopy(state)
    function.history.append(1)
    schedule._schedulers[1].milestones.append(5)
    schedule.step()
    assert state == before
    json.dumps(state)  # plain Python values throughout


def test_in_a_new_process(tmp_path):
    code = """
import pickle, sys
sys.path[:0] = {path!r}
from schedule_cases import CASES, held_sequences
pickle.dump(held_sequences(pickle.load(open({states!r}, "rb"))), open({output!r}, "wb"))
"""
    states, expected = {}, {}
    for i, case in enumerate(CASES):
        schedule = make(case)
        sequence(schedule, 12)
        states[i] = schedule.optimizer.state_dict(), schedule.state_dict()
        expected[i] = sequence(schedule, 12)
    files = [str(tmp_path / name) for name in ("states", "output")]
    Path(files[0]).write_bytes(pickle.dumps(states))
    path = [str(Path(__file__).parent), *sys.path]
    program = code.format(path=path, states=files[0], output=files[1])
    subprocess.run([sys.executable, "-c", program], check=True)
    assert pickle.loads(Path(files[1]).read_bytes()) == expected


def test_copies_go_their_own_way():
    schedule = SequentialLR(o := one_group(), [LinearLR(o), OneCycleLR(o, 1, 20)], [4])
    sequence(schedule, 7)
    for other in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert other.optimizer is not schedule.optimizer
        ahead = [schedule.lr_at(t) for t in range(6, 20)]
        assert [[lr] for lr in first_lrs(other, 14)] == ahead
    assert schedule.last_epoch == 6


def test_states_that_do_not_fit():
    two = ravine_optimizer()
    sequential = SequentialLR(two, [LinearLR(two), StepLR(two, 3)], [4])
    good = sequential.state_dict()
    inner = good["schedulers"][1]
    for change, text in (
        (
            {"milestones": [4, 5]},
            r"(?s)SequentialLR.load_state_dict: .*\n  2 schedulers and 2 milestones; expected one",
        ),
        ({"milestones": [0]}, r"milestones\[0\]=0; expected a whole number, 1 or more"),
        ({"schedulers": [inner]}, r"schedulers has 1 states; expected a list of 2 states"),
        (
            {"schedulers": [good["schedulers"][0], {**inner, "gamma": -1}]},
            r"\[1\] \(StepLR\): gamma=-1 is negative",
        ),
        ({"last_epoch": -3}, r"last_epoch=-3; expected a finite number, 0 or more"),
        ({"step_size": 3}, r"unknown 'step_size'; load what state_dict\(\) of the same schedule returned"),
        ({"lr": [1.0]}, r"lr has 1 values; expected those of 2 groups"),
    ):
        with pytest.raises(ValueError, match=text):
            sequential.load_state_dict({**good, **change})
        assert sequential.state_dict() == good
    with pytest.raises(ValueError, match=r"(?s)StepLR.load_state_dict: .* is unchanged:\n.*'step_size' is missing"):
        StepLR(two, 3).load_state_dict(ExponentialLR(ravine_optimizer(), 0.5).state_dict())
    cyclic = CyclicLR(ravine_optimizer(), 0.1, 1).state_dict()
    adagrad = optim.Adagrad([{"params": [np.zeros(1)]}, {"params": [np.zeros(1)]}])
    with pytest.raises(ValueError, match="cycle_momentum=True, but the optimizer has neither momentum nor betas"):
        CyclicLR(adagrad, 0.1, 1, cycle_momentum=False).load_state_dict(cyclic)
