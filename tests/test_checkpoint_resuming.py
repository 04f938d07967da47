"""Whatever is saved goes on to the same bits in a new process: every optimizer, every schedule, layers, order."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from cases import CASES
from checkpoint_cases import SAVED, STEPS, assert_same, go_on, make_all, schedule_of, together, training, trainings
from closure_cases import CLOSURE_CASES
from ravine import checkpoint
from ravine.data import minibatches
from schedule_cases import CASES as SCHEDULES

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Return how all trainings ended without a break, and how those that went on in another process."""
    directory = tmp_path_factory.mktemp("checkpoints")
    made = make_all()
    go_on(made, 0, SAVED)
    checkpoint.save(directory / "saved.ckpt", **together(made), step=SAVED)
    straight = go_on(made, SAVED, STEPS)
    subprocess.run([sys.executable, HERE / "checkpoint_cases.py", directory], check=True, timeout=300)
    return straight, checkpoint.load(directory / "ended.ckpt").extra


def test_every_optimizer_and_every_schedule_is_among_them():
    names = list(trainings())
    assert {name.split()[0] for name in names} >= {case.name for case in (*CASES, *CLOSURE_CASES)} | {"Handoff"}
    assert {name.split()[-1] for name in names if name.startswith("schedule ")} == {case.id for case in SCHEDULES}


@pytest.mark.parametrize("name", trainings())
def test_going_on_in_a_new_process(name, ended):
    straight, resumed = ended
    assert_same(resumed[name], straight[name])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_optimizer_meets_every_schedule(case, tmp_path):
    """In this process: that nothing of it is needed, the test above shows."""

    def make_each():
        each = {of_schedule.name: of_schedule for of_schedule in SCHEDULES}
        made = {
            name: training(case.optimizer, lambda o, c=of_schedule: [schedule_of(c, o)])
            for name, of_schedule in each.items()
        }
        return {name: each for name, each in made.items() if each.schedules != [None]}

    straight, resumed = make_each(), make_each()
    go_on(straight, 0, SAVED)
    checkpoint.save(tmp_path / "run.ckpt", **together(straight))
    checkpoint.load(tmp_path / "run.ckpt", **together(resumed))
    assert len(straight) >= 17
    assert_same(go_on(resumed, SAVED, STEPS), go_on(straight, SAVED, STEPS))


def test_going_on_in_the_middle_of_an_epoch(tmp_path):
    """As docs/checkpoints.md has it: the generator as it was before the epoch, and how many batches are done."""
    X = np.arange(20)
    rng = np.random.default_rng(1)
    list(minibatches(X, batch_size=3, rng=rng))
    before = rng.bit_generator.state
    batches = minibatches(X, batch_size=3, rng=rng)
    for done, _ in enumerate(islice(batches, 4), 1):
        checkpoint.save(tmp_path / "run.ckpt", extra={"order": before, "batches": done})
    rest = [batch.tolist() for (batch,) in batches]
    later = [batch.tolist() for (batch,) in minibatches(X, batch_size=3, rng=rng)]

    other = np.random.default_rng()
    extra = checkpoint.load(tmp_path / "run.ckpt").extra
    other.bit_generator.state = extra["order"]
    again = islice(minibatches(X, batch_size=3, rng=other), extra["batches"], None)
    assert [batch.tolist() for (batch,) in again] == rest
    assert [batch.tolist() for (batch,) in minibatches(X, batch_size=3, rng=other)] == later
