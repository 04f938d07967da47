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
CORRUPTING = True

KNOWN = [
    Known(
        "the names of parameters in a saved state are the optimizer's own list",
        r"REFUSED: \w+\.load_state_dict .*param_names",
        """
optimizer = optim.SGD({"a": np.ones(2)})
optimizer.state_dict()["param_groups"][0]["param_names"][0] = "b"
assert optimizer.param_groups[0]["param_names"] == ["a"]
""",
    ),
    Known(
        "a state whose numbers have become NaN in all parameters of a group cannot be loaded again",
        r"REFUSED: \w+\.load_state_dict .*differ in",
        """
optimizer = stepped(optim.Prodigy)
optimizer.step([np.full(3, np.nan), np.ones((2, 2))])
optimizer.load_state_dict(optimizer.state_dict())
""",
    ),
    Known(
        "a layer asks for the shape of what cannot be an array, and Parameter.grad sees no memory, with NumPy's errors",
        r"RAW: ((\w+(1d|2d|3d|Dropout|\.grad|\.backward|_forward|_backward)(\(\))?)|SparseGrad\(\)|Dropout\(\)) .*"
        r"(bytes-like|not understood|negative dim|PyCapsule_GetPointer|has no len|cannot see the memory)",
        "refused(lambda: nn.BatchNorm1d(3)(Interface(typestr='??')), 'BatchNorm1d')",
    ),
    Known(
        "an object whose memory cannot be seen is refused by add_param_group without naming the optimizer",
        r"RAW: \w+\.add_param_group .*cannot see the memory",
        "refused(lambda: stepped().add_param_group({'params': Interface(shape=(-1,))}), 'Adam')",
    ),
    Known(
        "the memory of an argument of batch norm is asked for after another was checked, and may resize it",
        "",
        """
class Acting:
    @property
    def __array_interface__(self):
        x.resize((4, 3, 10), refcheck=False)
        return np.ones(3).__array_interface__
x = np.ones((4, 3, 100000))
refused(lambda: F.batch_norm(x, weight=Acting(), training=True), "batch_norm")
""",
        dies=True,
    ),
    Known(
        "a list of groups that somebody has edited is saved, loaded and shown with raw errors",
        r"RAW: \w+\.(state_dict|load_state_dict|repr) \| - \| .*(group appended|no dict|group removed|clear)",
        """
optimizer = stepped()
optimizer.param_groups.append(dict(optimizer.param_groups[0]))
refused(optimizer.state_dict, "Adam")
""",
    ),
    Known(
        "schedules step over a learning rate that is missing or garbage with raw errors",
        r"RAW: \w+\.step \| - \| (lr removed|no group|lr garbage|initial_lr garbage|group removed|group appended)",
        """
schedule = lr_scheduler.StepLR(stepped(), 3)
del schedule.optimizer.param_groups[0]["lr"]
refused(schedule.step, "StepLR")
""",
    ),
    Known(
        "attributes of a layer that are replaced by garbage raise raw errors",
        r"RAW: \w+: \w+ \| .* (replaced|made read-only) \|",
        """
dropout = nn.Dropout(0.5, seed=0)
dropout.p = np.zeros(2)
refused(lambda: dropout(np.ones(3)), "Dropout")
""",
    ),
    Known(
        "LBFGS meets a loss beyond floats, and parameters and sparse gradients changed by its closure, with raw errors",
        r"RAW: LBFGS\.step \| (loss|changed|sparse) ",
        "refused(lambda: optim.LBFGS([np.ones(2)]).step(lambda: (10**400, [np.ones(2)])), 'LBFGS')",
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


HALVES = [
    Half("a state that an optimizer loads", r"^\w+\.load_state_dict$", "Adam.load_state_dict", 1),
    Half("a state that a schedule loads", r"-\d+\.load_state_dict$", "MultiplicativeLR-4.load_state_dict", 1),
    Half("a group that is added", r"\.add_param_group$", "SGD.add_param_group", 1),
    Half("parameters turned, and what says so", r"train, eval$", "SGDScheduleFree.train, eval", 1),
    Half("the stages and counts of a Handoff", r"^Handoff", "Handoff", 4),
    Half("running statistics, and how many batches they have seen", r"^BatchNorm", "BatchNorm1d momentum=0.1", 1),
]


def known_half(subject: str) -> Half | None:
    """Return which of them a subject does, if it is one."""
    return next((half for half in HALVES if re.search(half.pattern, subject)), None)


def known(failure: Failure | list[str]) -> Known | None:
    """Return which of them a failure is, if it is one."""
    text = str(Failure(*failure))
    return next((each for each in KNOWN if each.pattern and re.search(each.pattern, text, re.DOTALL)), None)
