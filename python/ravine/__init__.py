"""torch.optim for NumPy: compiled optimizers that update NumPy arrays in place, in one fused pass a step."""

from ravine import config, data, nn, optim

__version__ = "0.1.0"

__all__ = ["__version__", "config", "data", "nn", "optim"]
