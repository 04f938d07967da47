"""What is done to an optimizer while it steps: saving waits for the step, loading and adding groups are refused."""

from __future__ import annotations

import copy
import multiprocessing
import threading
import time

import numpy as np
import pytest
from ravine import nn, optim

MIDDLE = "in the middle of a step"


def makers():
    return {
        "SGD": lambda p: optim.SGD(p, lr=1.0, momentum=0.5),
        "LBFGS": optim.LBFGS,
        "Handoff": lambda p: optim.Handoff([optim.Adam(p), optim.SGD(p, lr=0.1)], at=[3]),
    }


class Stepping:
    """A step of another thread, which stands in its closure until it is let go."""

    def __init__(self, optimizer, p):
        self.inside, self.leave = threading.Event(), threading.Event()

        def closure():
            self.inside.set()
            self.leave.wait(30)
            p.grad = p.data.copy()
            return float(p.data.sum())

        self.thread = threading.Thread(target=optimizer.step, args=(closure,))

    def __enter__(self):
        self.thread.start()
        assert self.inside.wait(30)
        return self

    def __exit__(self, *exception):
        self.leave.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("name", makers())
def test_saving_waits_for_a_step(name):
    p = nn.Parameter(np.ones(4))
    optimizer = makers()[name]([p])
    found = []
    with Stepping(optimizer, p):
        saver = threading.Thread(target=lambda: found.append(optimizer.state_dict()))
        saver.start()
        time.sleep(0.1)
        assert found == [], "saved in the middle of a step"
    saver.join(30)
    np.testing.assert_equal(found[0], optimizer.state_dict())
    assert optimizer.has_stepped


def test_what_is_saved_beside_steps_is_whole():
    n = 200_000
    p = np.zeros(n)
    optimizer = optim.SGD([p], lr=0.0, momentum=1.0)
    g, ended = np.ones(n), threading.Event()

    def train():
        while not ended.is_set():
            optimizer.step([g])

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for _ in range(100):
            state = optimizer.state_dict()["state"].get(0)
            if state:
                assert (state["momentum_buffer"] == state["step"]).all()
    finally:
        ended.set()
        thread.join(30)


@pytest.mark.parametrize("name", makers())
def test_hooks_and_closures_can_save(name):
    p = nn.Parameter(np.ones(4))
    optimizer = makers()[name]([p])
    saved = []

    def closure():
        saved.append(optimizer.state_dict())
        p.grad = p.data.copy()
        return float(p.data.sum())

    optimizer.register_step_pre_hook(lambda *_: saved.append(optimizer.state_dict()))
    optimizer.register_step_post_hook(lambda *_: saved.append(optimizer.state_dict()))
    optimizer.step(closure)
    np.testing.assert_equal(saved[-1], optimizer.state_dict())


@pytest.mark.parametrize("name", makers())
def test_loading_in_the_middle_of_a_step_is_refused(name):
    p = nn.Parameter(np.ones(4))
    optimizer = makers()[name]([p])
    before = copy.deepcopy(optimizer.state_dict())
    with Stepping(optimizer, p), pytest.raises(RuntimeError, match=MIDDLE):
        optimizer.load_state_dict(before)
    with pytest.raises(RuntimeError, match=MIDDLE):
        optimizer.step(lambda: optimizer.load_state_dict(before))
    optimizer.load_state_dict(before)
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_adding_a_group_in_the_middle_of_a_step_is_refused():
    p = nn.Parameter(np.ones(4))
    optimizer = optim.Adam([p])
    with Stepping(optimizer, p), pytest.raises(RuntimeError, match=MIDDLE):
        optimizer.add_param_group({"params": [np.ones(3)]})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [nn.Parameter(np.ones(3))]})


def test_a_shallow_copy_steps_by_itself():
    p = np.ones(4)
    optimizer = optim.Adam([p])
    optimizer.step([p.copy()])
    other = copy.copy(optimizer)
    assert other.param_groups[0]["params"][0].data is p
    state = copy.deepcopy(optimizer.state_dict())
    np.testing.assert_equal(other.state_dict(), state)
    other.param_groups[0]["lr"] = 0.5
    other.step([p.copy()])
    np.testing.assert_equal(optimizer.state_dict(), state)
    assert other.state_dict()["state"][0]["step"] == 2


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_child_that_is_made_while_another_thread_saves_can_step(monkeypatch):
    p = np.zeros(4)
    optimizer = optim.SGD([p], lr=1.0)
    inside, leave = threading.Event(), threading.Event()

    def saved():
        inside.set()
        leave.wait(30)
        return {}

    monkeypatch.setattr(optimizer, "_saved", saved)
    thread = threading.Thread(target=optimizer.state_dict)
    thread.start()
    assert inside.wait(30)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=optimizer.step, args=([np.ones(4)],))
    child.start()
    child.join(30)
    try:
        assert child.exitcode == 0, "the child hangs"
    finally:
        child.kill()
        leave.set()
        thread.join(30)


class TestHooksThatRaise:
    """What must be whole is whole before they are called, and they are called once."""

    @pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
    def test_after_a_loading(self, error):
        p = np.ones(4)
        handoff = optim.Handoff([optim.Adam([p]), optim.SGD([p], lr=0.1, momentum=0.9)], at=[1])
        for _ in range(3):
            handoff.step([p.copy()])
        saved = handoff.state_dict()
        other = optim.Handoff([optim.Adam([p]), optim.SGD([p], lr=0.1, momentum=0.9)], at=[1])
        calls = []

        def hook(*_):
            calls.append(None)
            raise error

        other.optimizers[0].register_load_state_dict_post_hook(hook)
        with pytest.raises(error):
            other.load_state_dict(saved)
        np.testing.assert_equal(other.state_dict(), saved)
        other.step([p.copy()])
        assert len(calls) == 1

    @pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
    def test_after_a_hand_over(self, error):
        p = np.ones(4)
        handoff = optim.Handoff([optim.Adam([p]), optim.SGD([p], lr=0.1)], at=[1])
        calls = []

        def hook(*_):
            calls.append(None)
            raise error

        handoff.register_switch_hook(hook)
        with pytest.raises(error):
            handoff.step([p.copy()])
        assert (handoff.stage, handoff.steps) == (1, 1)
        handoff.step([p.copy()])
        assert len(calls) == 1


def test_what_two_signals_have_interrupted_is_done_before_anybody_looks():
    optimizer = optim.SGD([np.ones(2)], lr=1.0)
    signals = [KeyboardInterrupt, KeyboardInterrupt]

    def act():
        if signals:
            raise signals.pop()
        optimizer.param_groups[0]["lr"] = 5.0

    with pytest.raises(KeyboardInterrupt):
        optimizer._go_through_with(act)
    assert optimizer.param_groups[0]["lr"] == 1.0
    assert optimizer.state_dict()["param_groups"][0]["lr"] == 5.0
