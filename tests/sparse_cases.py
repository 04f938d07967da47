"""What takes sparse gradients, and a training on some: for tests/test_sparse_*.py and golden/sparse/generate.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from cases import CASES

Array = np.ndarray[Any, Any]

STEPS = 30
SHAPES = {"matrix": (9, 4), "vector": (12,), "blocks": (7, 2, 3)}
CONFIGS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{}, {"lr": 0.3, "maximize": True}],
    "Adagrad": [{}, {"lr": 0.3, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "maximize": True}],
    "SparseAdam": [{}, {"lr": 0.3, "betas": (0.5, 0.9), "eps": 1e-3, "maximize": True}],
}
SPARSE = [case for case in CASES if case.name in CONFIGS]
DENSE = [case for case in CASES if case.name not in CONFIGS]
SPARSE_CONFIGS = [(case, i, config) for case in SPARSE for i, config in enumerate(CONFIGS[case.name])]
SPARSE_IDS = [f"{case.name}-{i}" for case, i, _ in SPARSE_CONFIGS]


def problem(shape: tuple[int, ...]) -> tuple[Array, list[Array], list[Array]]:
    """Return a start, and for each step rows, repeated and in any order, with their values; the third has none."""
    rng = np.random.default_rng(21)
    start = rng.standard_normal(shape)
    rows = [rng.integers(0, shape[0], 0 if t == 2 else rng.integers(1, 9)) for t in range(STEPS)]
    return start, rows, [rng.standard_normal((len(r), *shape[1:])) * 10.0 ** rng.uniform(-3, 1) for r in rows]


def torch_training(name: str, config: dict[str, Any], shape: tuple[int, ...], coalesced: bool) -> Iterator[Array]:
    """Yield the parameter after each step of torch's optimizer."""
    import torch

    start, rows, values = problem(shape)
    p = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = getattr(torch.optim, name)([p], **config)
    for r, v in zip(rows, values, strict=True):
        p.grad = torch_sparse(r, v, shape, coalesced)
        with torch.sparse.check_sparse_tensor_invariants(enable=True):
            optimizer.step()
        yield p.detach().numpy().copy()


def torch_sparse(rows: Array, values: Array, shape: tuple[int, ...], coalesced: bool) -> Any:
    """Return a torch tensor with one sparse dimension."""
    import torch

    tensor = torch.sparse_coo_tensor(
        torch.from_numpy(rows)[None], torch.from_numpy(values), shape, check_invariants=True
    )
    return tensor.coalesce() if coalesced else tensor
