"""DeepSpeed's Adam for the CPU."""

from __future__ import annotations

import logging

from .competitors import torch_parameters
from .extras import require
from .peer import Running, Work


def start(work: Work) -> Running:
    """`DeepSpeedCPUAdam.step()`: one call of its C++ for each tensor, in one pass, in OpenMP regions.

    It is compiled for this machine when it is first used, which takes a minute and a C++ compiler.
    """
    tensors = torch_parameters(work.params, work.grads)
    adam = require("deepspeed.ops.adam")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    hyper = {name: work.hyper[name] for name in ("lr", "betas", "eps", "weight_decay")}
    optimizer = adam.DeepSpeedCPUAdam(tensors, adamw_mode=work.rule == "adamw", **hyper)
    return Running.step_by_step(optimizer.step, lambda: work.params)
