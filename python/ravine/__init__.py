"""torch.optim for NumPy: compiled optimizers that update NumPy arrays in place, in one fused pass a step."""

from typing import Any

from ravine import config, data, nn, optim
from ravine.config import get_num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = ["__version__", "config", "data", "get_num_threads", "nn", "optim", "plot", "set_num_threads"]


def __getattr__(name: str) -> Any:
    if name != "plot":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import ravine.plot  # noqa: PLC0415  (importing ravine has to be quick)

    return ravine.plot
