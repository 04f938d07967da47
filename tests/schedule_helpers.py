"""Short forms that the tests of schedules share."""

from __future__ import annotations

import warnings

from schedule_cases import CASES, ravine_optimizer, sequence

IDS = [case.id for case in CASES]


def one_group(lr=1.0):
    return ravine_optimizer(lrs=(lr,))


def lrs(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def first_lrs(schedule, steps):
    """Return the learning rate of the first group at steps 0, 1, ..."""
    return [values[0] for values in sequence(schedule, steps)]


class Half:
    def __init__(self, by=0.5):
        self.by = by

    def __call__(self, t):
        return self.by**t


def quietly(function, *args, **kwargs):
    """Call what torch warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)
