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
        "SWATS computes with a learning rate as it stands in the group, float32 or no float at all, when it switches",
        r"(WRONG|RAW): SWATS\.step",
        """
def switched(lr):
    optimizer = optim.SWATS([np.ones(3)], tolerance=1e9)
    optimizer.param_groups[0]["lr"] = lr
    for k in range(1, 4):
        optimizer.step([k * np.array([1, -2, 0.3])])
    return float(optimizer.param_groups[0]["sgd_scale"])
assert switched(np.float32(0.3)) == switched(float(np.float32(0.3)))
""",
    ),
    Known(
        "text that is a number passes for one",
        r"RAW: \w+\.step\(list\) .*UFuncTypeError",
        "refused(lambda: optim.Adam([np.ones(3)], lr='0.1'), 'lr')",
    ),
    Known(
        "an object whose memory cannot be seen is refused without being named",
        r"RAW: .*(bytes-like object is required|cannot see the memory|has no len\(\)|'\?\?' not understood)"
        r"|RAW: .*(negative dimensions|PyCapsule_GetPointer)",
        "refused(lambda: nn.Parameter(Interface(typestr='??')), 'Parameter')",
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
        "one list of gradients for each group is refused at the first step after a group was added",
        r"REFUSED: \w+\.step\(groups\)",
        """
optimizer = optim.SGD([np.ones(3)])
optimizer.step([np.ones(3)])
optimizer.add_param_group({"params": [np.ones(2)]})
optimizer.step([[np.ones(3)], [np.ones(2)]])
""",
    ),
    Known(
        "a state that has become NaN cannot be loaded again",
        r"REFUSED: \w+\.load_state_dict .*(nan|inf) is not finite",
        """
optimizer = optim.Prodigy([np.ones(2)])
optimizer.step([np.full(2, np.nan)])
optimizer.load_state_dict(optimizer.state_dict())
""",
    ),
    Known(
        "zero_grad stops in the middle at a read-only gradient",
        r"(CHANGED|RAW): \w+\.zero_grad \|",
        """
class Thing:
    def __init__(self): self.data, self.grad = np.ones(2), np.ones(2)
a, b = Thing(), Thing()
b.grad.flags.writeable = False
try:
    optim.SGD([a, b]).zero_grad()
except ValueError:
    assert (a.grad == 1).all()
""",
    ),
    Known(
        "a refused backward pass makes gradients that were None",
        r"CHANGED: BatchNorm\dd\.backward",
        """
bn = nn.BatchNorm1d(3)
bn(np.random.rand(4, 3).astype("f"))
bn.weight.grad = None
refused(lambda: bn.backward(3), "dy")
assert bn.weight.grad is None
""",
    ),
    Known(
        "a refused call of Dropout in evaluation forgets the last forward pass",
        r"CHANGED: (Alpha)?Dropout\dd?\(\)|CHANGED: (Alpha)?Dropout\(\)",
        """
dropout = nn.Dropout(0.5, seed=0)
dropout(np.ones(8))
dropout.eval()
refused(lambda: dropout(np.ones(8), out=3), "out")
assert (dropout.backward(np.ones(8)) == nn.Dropout(0.5, seed=0)(np.ones(8))).all()
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
    Half("a state that is loaded", r"\.load_state_dict$", "Adam.load_state_dict", 1),
    Half("a group that is added", r"\.add_param_group$", "SGD.add_param_group", 1),
    Half("parameters turned, and what says so", r"train, eval$", "SGDScheduleFree.train, eval", 1),
    Half("the stages and counts of a Handoff", r"^Handoff", "Handoff", 4),
    Half("learning rates, and where a schedule stands", r"LR-\d|Scheduler-\d|Restarts-\d|Plateau", "StepLR-5", 3),
    Half("running statistics, and how many batches they have seen", r"^BatchNorm", "BatchNorm1d momentum=0.1", 1),
    Half("that Dropout was called", r"^Dropout", "Dropout", 1),
]


def known_half(subject: str) -> Half | None:
    """Return which of them a subject does, if it is one."""
    return next((half for half in HALVES if re.search(half.pattern, subject)), None)


def known(failure: Failure | list[str]) -> Known | None:
    """Return which of them a failure is, if it is one."""
    text = str(Failure(*failure))
    return next((each for each in KNOWN if each.pattern and re.search(each.pattern, text, re.DOTALL)), None)
