"""Whole training steps: clipping, averaging and zeroing beside the update, through ravine and through torch."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from ravine import optim
from ravine.benchmark.timing import calibrated

from .competitors import torch_parameters
from .extras import require
from .peer import Work

Step = Callable[[], object]

# What is done beside Adam's update, and how many bytes a float32 parameter that moves at the least.
BYTES = {"plain": 28, "clip": 32, "clip, average, zero": 44}
MAX_NORM, DECAY = 1.0, 0.999


def ravine(kind: str, work: Work) -> Step:
    """One call: `optimizer.step(grads, max_norm=1.0, zero_grad=True)` of an optimizer with an average."""
    optimizer = optim.Adam(work.params)
    grads = work.grads
    if kind == "plain":
        return lambda: optimizer.step(grads)
    if kind == "clip":
        return lambda: optimizer.step(grads, max_norm=MAX_NORM)
    optim.swa_utils.ExponentialMovingAverage(optimizer, DECAY)
    return lambda: optimizer.step(grads, max_norm=MAX_NORM, zero_grad=True)


def torch_fused(kind: str, work: Work) -> Step:
    """Fused Adam after `clip_grad_norm_`, then `torch._foreach_lerp_` over all averages at once, and `zero_grad`.

    The lerp is what its `get_ema_multi_avg_fn` calls; `AveragedModel.update_parameters` around it costs more.
    """
    torch = require("torch")
    params = torch_parameters(work.params, work.grads)
    optimizer = torch.optim.Adam(params, fused=True)
    clip = torch.nn.utils.clip_grad_norm_
    averages = [p.detach().clone() for p in params]
    data = [p.detach() for p in params]

    def clipped() -> None:
        clip(params, MAX_NORM)
        optimizer.step()

    def whole() -> None:
        clipped()
        torch._foreach_lerp_(averages, data, 1 - DECAY)
        optimizer.zero_grad(set_to_none=False)

    steps: dict[str, Step] = {"plain": optimizer.step, "clip": clipped, "clip, average, zero": whole}
    return steps[kind]


STEPS = {"ravine": ravine, "torch_fused": torch_fused}


def measuring(name: str, kind: str, work: Work, seconds: float) -> Callable[[], float]:
    """Return a function that measures a step, with gradients made anew before each, which is not in the time."""
    step = STEPS[name](kind, work)
    fresh = [grad.copy() for grad in work.grads]

    def total(count: int) -> float:
        spent = 0.0
        for _ in range(count):
            for grad, values in zip(work.grads, fresh, strict=True):
                np.copyto(grad, values)
            begin = time.perf_counter()
            step()
            spent += time.perf_counter() - begin
        return spent

    return calibrated(total, seconds)
