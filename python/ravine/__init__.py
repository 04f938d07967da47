"""torch.optim for NumPy: compiled optimizers that update NumPy arrays in place, in one fused pass a step."""

from typing import Any

from ravine import config, data, nn, optim
from ravine.config import get_num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = ["__version__", "checkpoint", "config", "data", "get_num_threads", "nn", "optim", "plot", "set_num_threads"]


def __getattr__(name: str) -> Any:
    if name not in ("checkpoint", "plot"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415  (importing ravine has to be quick)

    return importlib.import_module(f"ravine.{name}")
