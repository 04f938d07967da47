"""What optimizers update, and the layers that keep state, under torch.nn's names."""

from ravine.nn import functional, utils
from ravine.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from ravine.nn.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d
from ravine.nn.layer import Layer
from ravine.nn.parameter import Parameter

__all__ = [
    "AlphaDropout",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Layer",
    "Parameter",
    "functional",
    "utils",
]
