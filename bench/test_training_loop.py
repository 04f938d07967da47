"""Whole iterations of a training loop: `pytest bench/test_training_loop.py --benchmark-enable`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import training_loop
from ravine import config

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture(autouse=True)
def _same_threading_afterwards() -> Iterator[None]:
    before = config.get_threading()
    yield
    config.set_threading(before)


@pytest.mark.parametrize("parameters", training_loop.SIZES)
@pytest.mark.parametrize("loop", training_loop.LOOPS)
def test_iteration(benchmark: BenchmarkFixture, parameters: int, loop: str) -> None:
    benchmark.group = f"adam, {parameters:,} parameters"
    benchmark(training_loop.iterations("adam", parameters)[loop])
