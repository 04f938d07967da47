"""Averages of the weights: `torch.optim.swa_utils`, and averages that the pass of a step renews."""

from ravine.optim.swa_utils._averaged_model import (
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)
from ravine.optim.swa_utils._moving_average import ExponentialMovingAverage
from ravine.optim.swa_utils._swalr import SWALR

__all__ = [
    "SWALR",
    "AveragedModel",
    "ExponentialMovingAverage",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]
