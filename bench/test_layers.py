"""Batch norm and dropout, ravine's beside NumPy's and torch's: `pytest bench/test_layers.py --benchmark-enable`.

Before it is timed, each is compared with NumPy's usual expressions.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import TYPE_CHECKING

import pytest
from peers.layers import CONTENDERS, PASSES, case, make
from peers.layers import SHAPES as SHAPES_OF_MODELS
from ravine.benchmark.layers import LAYERS

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture
    from ravine.benchmark.layers import Batch
    from ravine.benchmark.workloads import Shape

SHAPES: dict[str, list[Shape]] = {
    "batch_norm": [(32, 256, 14, 14), (8, 17, 33, 27), (256, 1024)],
    "dropout": [(128, 4096)],
}
if os.environ.get("RAVINE_BENCH_LARGE"):
    SHAPES = SHAPES_OF_MODELS
HERE = [name for name in CONTENDERS if name != "torch" or importlib.util.find_spec("torch")]


@functools.lru_cache(maxsize=1)
def batch(shape: Shape, layout: str) -> Batch:
    return make(shape, layout, "float32")


# The batch changes last, so that it is made once.
PARAMETERS = [
    pytest.param(layer, shape, layout, name, contender, id=f"{layer}-{size}-{layout}-{name}-{contender}")
    for layer in SHAPES
    for shape in SHAPES[layer]
    for size in ["x".join(map(str, shape))]
    for layout in LAYERS[layer].layouts(shape)
    for of, name in PASSES
    if of == layer
    for contender in HERE
]


@pytest.mark.parametrize(("layer", "shape", "layout", "name", "contender"), PARAMETERS)
def test_pass(benchmark: BenchmarkFixture, layer: str, shape: Shape, layout: str, name: str, contender: str) -> None:
    benchmark.group = f"{layer} {shape} {layout} {name}"
    benchmark(case(layer, name, batch(shape, layout)).contender(contender).run)
