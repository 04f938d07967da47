"""torch, in its three implementations."""

from __future__ import annotations

from . import competitors
from .peer import RULES, Running, Work

FUSED_RULES = tuple(rule for rule in RULES if rule != "rmsprop")


def start_loop(work: Work) -> Running:
    """`torch.optim`, `foreach=False`: tensor by tensor, each operation over it in a call of its own."""
    return _start(work, "for-loop")


def start_foreach(work: Work) -> Running:
    """`torch.optim`, `foreach=True`: each operation over all tensors in one call."""
    return _start(work, "foreach")


def start_fused(work: Work) -> Running:
    """`torch.optim`, `fused=True`: tensor by tensor, each in one pass."""
    return _start(work, "fused")


def _start(work: Work, implementation: str) -> Running:
    """Return torch on the memory of the work's own arrays."""
    return Running.step_by_step(
        competitors.torch(work.case, work.params, work.grads, implementation), lambda: work.params
    )
