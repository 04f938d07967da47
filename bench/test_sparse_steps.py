"""Steps on a few rows of a table: `pytest bench/test_sparse_steps.py --benchmark-enable --benchmark-group-by=group`."""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pytest
import sparse_steps

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

SIZES = [(200_000, 64, 2000), (200_000, 1, 2000)]
HERE = sparse_steps.CONTENDERS + (sparse_steps.TORCH if importlib.util.find_spec("torch") else [])


@functools.lru_cache(maxsize=1)
def entries(rows: int, width: int, named: int) -> sparse_steps.Entries:
    return sparse_steps.entries(rows, width, named)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("optimizer", sparse_steps.OPTIMIZERS)
@pytest.mark.parametrize("name", HERE)
def test_step(benchmark: BenchmarkFixture, name: str, optimizer: str, size: tuple[int, int, int]) -> None:
    rows, width, _ = size
    benchmark.group = f"{optimizer}, {size}"
    benchmark(sparse_steps.contender(name, optimizer, sparse_steps.new_table(rows, width), entries(*size)))


@pytest.mark.parametrize("optimizer", sparse_steps.OPTIMIZERS)
def test_contenders_compute_the_same(optimizer: str) -> None:
    given = sparse_steps.entries(500, 3, 70)
    groups = [["ravine", "NumPy", "torch"], ["any order", "torch, any order"]]
    for names in groups:
        tables = []
        for name in (name for name in names if name in HERE):
            tables.append(sparse_steps.new_table(500, 3))
            step = sparse_steps.contender(name, optimizer, tables[-1], given)
            for _ in range(30):
                step()
        for table in tables[1:]:
            np.testing.assert_allclose(table, tables[0], rtol=1e-5, atol=1e-6)
