"""A Handoff of two stages, and gradients for it."""

from __future__ import annotations

import numpy as np
from ravine import optim
from ravine.optim.lr_scheduler import ReduceLROnPlateau

AT, STEPS = 7, 16
GRADS = np.random.default_rng(0).standard_normal((STEPS, 5))


def pair(w):
    return [optim.Adam([w], lr=0.1), optim.SGD([w], lr=0.5, momentum=0.9)]


def run(handoff, grads, schedules=()):
    """Return the learning rate of each step."""
    lrs = []
    for g in grads:
        lrs.append(handoff.param_groups[0]["lr"])
        handoff.step([g.copy()])
        for schedule in schedules:
            schedule.step(*([1.0] if isinstance(schedule, ReduceLROnPlateau) else []))
    return lrs
