"""bitsandbytes' 8-bit Adam, on the CPU."""

from __future__ import annotations

from .competitors import torch_parameters
from .extras import require
from .peer import Running, Work


def start(work: Work) -> Running:
    """`Adam8bit.step()` or `AdamW8bit.step()`: both moments in 8 bits, with a scale for each block of 256.

    Tensors of fewer than 4096 elements keep moments of 32 bits. On the CPU an update takes the moments apart, does
    the rule in torch's operations, and rounds them again.
    """
    tensors = torch_parameters(work.params, work.grads)
    optimizers = {"adam": "Adam8bit", "adamw": "AdamW8bit"}
    hyper = {name: work.hyper[name] for name in ("lr", "betas", "eps", "weight_decay")}
    optimizer = getattr(require("bitsandbytes").optim, optimizers[work.rule])(tensors, **hyper)
    return Running.step_by_step(optimizer.step, lambda: work.params)
