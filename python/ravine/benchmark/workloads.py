"""The parameter shapes of real models, from a toy to GPT-2."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def _dense(*widths: int) -> list[Shape]:
    """Weights and biases of fully connected layers."""
    return [shape for n, m in itertools.pairwise(widths) for shape in ((n, m), (m,))]


def _mlp_tiny() -> list[Shape]:
    return _dense(2, 16, 16, 1)


def _mnist_mlp() -> list[Shape]:
    return _dense(784, 128, 10)


def _lenet5() -> list[Shape]:
    convolutions: list[Shape] = [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,)]
    # torch's layout: a row of the weights for each output
    return convolutions + [shape[::-1] for shape in _dense(400, 120, 84, 10)]


def _resnet50() -> list[Shape]:
    def convolution(outputs: int, inputs: int, size: int) -> list[Shape]:
        """A convolution without bias, and the scale and shift of the batch norm behind it."""
        return [(outputs, inputs, size, size), (outputs,), (outputs,)]

    shapes = convolution(64, 3, 7)
    inputs = 64
    for planes, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += convolution(planes, inputs, 1) + convolution(planes, planes, 3)
            shapes += convolution(4 * planes, planes, 1)
            if block == 0:  # the shortcut changes the number of channels
                shapes += convolution(4 * planes, inputs, 1)
            inputs = 4 * planes
    return [*shapes, (1000, 2048), (1000,)]


def _gpt2_small() -> list[Shape]:
    width = 768
    norm: list[Shape] = [(width,), (width,)]
    attention = _dense(width, 3 * width) + _dense(width, width)
    block = norm + attention + norm + _dense(width, 4 * width, width)
    return [(50257, width), (1024, width), *12 * block, *norm]


_MODELS: dict[str, Callable[[], list[Shape]]] = {
    "mlp_tiny": _mlp_tiny,
    "lenet5": _lenet5,
    "mnist_mlp": _mnist_mlp,
    "resnet50": _resnet50,
    "gpt2_small": _gpt2_small,
}
MODELS = tuple(_MODELS)


def shapes(workload: str) -> list[Shape]:
    """Return the shapes of a workload's parameters.

    Args:
        workload: one of `MODELS`, "flat:N" for a single array of N elements, or "flat:KxN" for K of them.

    Raises:
        ValueError: there is no such workload.
    """
    if flat := re.fullmatch(r"flat:(?:([1-9]\d*)x)?([1-9]\d*)", workload, re.ASCII):
        return [(int(flat[2]),) for _ in range(int(flat[1] or 1))]
    if workload not in _MODELS:
        raise ValueError(
            f"no workload {workload!r}; choose from {', '.join(MODELS)}, "
            "or flat:N for N elements, flat:KxN for K arrays of N."
        )
    return _MODELS[workload]()


def count(workload: str) -> int:
    """Return a workload's number of parameters."""
    return sum(map(math.prod, shapes(workload)))


def make(workload: str, dtype: str) -> tuple[list[Array], list[Array]]:
    """Return parameters and gradients of a workload, of the size they have in training."""
    rng = np.random.default_rng(0)
    kind = np.float32 if dtype == "float32" else np.float64

    def random(scale: float) -> Iterator[Array]:
        for shape in shapes(workload):
            array = rng.standard_normal(shape, kind)
            array *= kind(scale)
            yield array

    return list(random(0.05)), list(random(0.01))
