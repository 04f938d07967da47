"""Ctrl-C between any two lines of Python, and after any call into C: an optimizer is at step k or at step k + 1."""

from __future__ import annotations

import copy
import linecache
import sys

import numpy as np
import pytest
from ravine import optim

GRADS = [np.array([[0.1, -2.0], [3.0, 0.4]]), np.array([[1.0, 2.0], [-3.0, 4.0]])]
MAKERS = {
    "SGD": lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
    "Adam": lambda params: optim.Adam([{"params": params[:1]}, {"params": params[1:], "lr": 0.1}]),
    "LAMB": optim.LAMB,
    "Prodigy": optim.Prodigy,
    "Adafactor": optim.Adafactor,
    "Muon": optim.Muon,
    "AdamWScheduleFree": optim.AdamWScheduleFree,
}


class Interrupting:
    """Raises KeyboardInterrupt at the n-th place where a signal can come: a line, or the end of a call into C.

    Not before the lines of `NO_CALL`: what comes before them ends with no call, so the interpreter looks at no signal.
    """

    NO_CALL = ("try:", "self._idle[0] = None")

    def __init__(self, kind, n):
        self._set, self._left = getattr(sys, kind), n
        self.done = False

    def __enter__(self):
        self._set(self._event)
        return self

    def __exit__(self, *exception):
        self._set(None)

    def _event(self, frame, event, arg):
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if "ravine" in frame.f_code.co_filename and (
            event == "c_return" or (event == "line" and line not in self.NO_CALL)
        ):
            self._left -= 1
            if self._left == 0:
                self.done = True
                self._set(None)
                raise KeyboardInterrupt
        return self._event


def bits(optimizer, params):
    return [p.copy() for p in params], copy.deepcopy(optimizer.state_dict())


def is_equal(one, other):
    try:
        np.testing.assert_equal(one, other)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
@pytest.mark.parametrize("when", ["first", "later", "loaded", "changed"])
@pytest.mark.parametrize("name", MAKERS)
def test_an_interrupted_step(name, when, kind):
    reached = 0
    for n in range(1, 2000):
        params, others = ([np.ones((2, 2)), np.full((2, 2), 2.0)] for _ in range(2))
        optimizer, undisturbed = MAKERS[name](params), MAKERS[name](others)
        pair = (optimizer, undisturbed)
        for each in pair:
            for _ in range(0 if when == "first" else 2):
                each.step(GRADS)
            if when == "loaded":
                each.load_state_dict(each.state_dict())
            if when == "changed":
                each.param_groups[0].update(lr=0.7, maximize=True)
        before = bits(optimizer, params)
        try:
            with Interrupting(kind, n) as interrupting:
                optimizer.step(GRADS)
        except KeyboardInterrupt:
            pass
        if not interrupting.done:
            break
        reached = n
        after = bits(optimizer, params)
        if not is_equal(after, before):
            undisturbed.step(GRADS)
            assert is_equal(after, bits(undisturbed, others)), f"at event {n}: neither before the step nor after it"
        for each in pair:
            each.step(GRADS)
        assert is_equal(bits(optimizer, params), bits(undisturbed, others)), f"interrupted at event {n}"
    assert reached > 1
