"""Learning-rate schedules: those of `torch.optim.lr_scheduler`, and more."""

from ravine.optim.lr_scheduler._base import LRScheduler
from ravine.optim.lr_scheduler._compose import ChainedScheduler, SequentialLR, WarmupLR
from ravine.optim.lr_scheduler._cycles import CyclicLR, OneCycleLR
from ravine.optim.lr_scheduler._decay import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from ravine.optim.lr_scheduler._functions import LambdaLR, MultiplicativeLR
from ravine.optim.lr_scheduler._hyperparameter import HyperparameterScheduler
from ravine.optim.lr_scheduler._plateau import ReduceLROnPlateau
from ravine.optim.lr_scheduler._warmup import (
    REXLR,
    CosineHardRestartsLR,
    CosineWarmupLR,
    InverseSqrtLR,
    WarmupStableDecayLR,
)

__all__ = [
    "REXLR",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CosineHardRestartsLR",
    "CosineWarmupLR",
    "CyclicLR",
    "ExponentialLR",
    "HyperparameterScheduler",
    "InverseSqrtLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupLR",
    "WarmupStableDecayLR",
]
