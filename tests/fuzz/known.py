"""Failures that are known and not mended yet. tests/test_fuzz.py checks that each still fails, and asks to delete it.

Each has a text that fits what the attack says of it, and a program that ends well where it is mended.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fuzz.oracle import Failure


class Known(NamedTuple):
    """A failure that is known."""

    name: str
    pattern: str  # of what the attack says; "" for what is kept from happening
    mended: str  # a program that ends well where it is mended, `np`, `optim`, `nn`, `F`, `Interface` being there
    dies: bool = False  # whether the program ends the process, and needs one of its own


SETUP = """
import numpy as np, signal
from ravine import nn, optim
from ravine.nn import functional as F
from ravine.optim import SparseGrad, lr_scheduler

class Interface:
    def __init__(self, **changed):
        self.array, self.changed = np.ones(3), changed
    @property
    def __array_interface__(self):
        return {**self.array.__array_interface__, **self.changed}

def refused(call, name, *errors):
    try:
        call()
    except errors or (TypeError, ValueError) as error:
        assert name in str(error), error
    else:
        raise AssertionError("accepted")

def stepped(cls=optim.Adam, **config):
    w = [np.ones(3), np.ones((2, 2))]
    optimizer = cls(w, **config)
    optimizer.step([np.ones(3), np.ones((2, 2))])
    return optimizer
"""

# While calls that write beyond an array are known, they are not made: all cases after them would be in doubt.
CORRUPTING = False

KNOWN = [
    Known(
        "what is loaded into the attributes of a user's own function object is taken as it is",
        r"RAW: (CyclicLR|LambdaLR|MultiplicativeLR)\.step .*loaded: (scale_fn|lr_lambdas)",
        """
class Decay:
    rate = 0.9
    def __call__(self, t):
        return self.rate**t
schedule = lr_scheduler.LambdaLR(stepped(), Decay())
state = schedule.state_dict()
state["lr_lambdas"] = [{"rate": []}]
refused(lambda: schedule.load_state_dict(state), "LambdaLR", ValueError)
""",
    ),
    Known(
        "a jump of a composed schedule takes as long as it is far",
        "",
        """
signal.alarm(5)
o = stepped()
lr_scheduler.ChainedScheduler([lr_scheduler.MultiplicativeLR(o, lambda t: 0.9)]).step(1 << 40)
""",
        dies=True,
    ),
]


class Half(NamedTuple):
    """A change of which an interruption leaves a half."""

    what: str
    pattern: str  # of the subjects that do it
    subject: str  # one of them
    acts: int  # after how many less one it happens


HALVES: list[Half] = []


def known_half(subject: str) -> Half | None:
    """Return which of them a subject does, if it is one."""
    return next((half for half in HALVES if re.search(half.pattern, subject)), None)


def known(failure: Failure | list[str]) -> Known | None:
    """Return which of them a failure is, if it is one."""
    text = str(Failure(*failure))
    return next((each for each in KNOWN if each.pattern and re.search(each.pattern, text, re.DOTALL)), None)
