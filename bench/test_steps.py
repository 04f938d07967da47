"""A step of every rule, ravine's beside NumPy's: `pytest bench/test_steps.py --benchmark-enable`."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import pytest
from peers import competitors
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES, Array

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

WORKLOADS = ["mlp_tiny", "lenet5", "mnist_mlp", "resnet50"]
if os.environ.get("RAVINE_BENCH_LARGE"):
    WORKLOADS.append("gpt2_small")


@functools.lru_cache(maxsize=1)
def arrays(workload: str) -> tuple[list[Array], list[Array]]:
    return workloads.make(workload, "float32")


# Some of the references take seconds a step on larger ones.
WITH_REFERENCE = ["mlp_tiny", "lenet5", "mnist_mlp"]

# The workload changes last, so that its arrays are made once.
CONTENDERS = [
    pytest.param(workload, rule, implementation, id=f"{rule}-{workload}-{implementation}")
    for workload in WORKLOADS
    for rule in CASES
    for implementation in ("ravine", "numpy")
    if implementation == "ravine" or rule in competitors.IN_PLACE or workload in WITH_REFERENCE
]


@pytest.mark.parametrize(("workload", "rule", "implementation"), CONTENDERS)
def test_step(benchmark: BenchmarkFixture, workload: str, rule: str, implementation: str) -> None:
    benchmark.group = f"{workload} {rule}"
    given = arrays(workload)
    step = CASES[rule].ravine(*given) if implementation == "ravine" else competitors.numpy(rule, *given)
    if benchmark.enabled:
        step()  # the first makes plans and touches memory
    benchmark(step)
