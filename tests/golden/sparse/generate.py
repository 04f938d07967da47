"""Make the golden values of sparse gradients, in float64: python tests/golden/sparse/generate.py

For each optimizer that takes them, each configuration and each shape of tests/sparse_cases.py: where torch's arrives.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from sparse_cases import SHAPES, SPARSE_CONFIGS, torch_training

HERE = Path(__file__).parent


def main():
    assert version("torch").split("+")[0] == "2.13.0", version("torch")
    arrays = {}
    for case, i, config in SPARSE_CONFIGS:
        for name, shape in SHAPES.items():
            *_, arrays[f"{case.name}/{i}/{name}"] = torch_training(case.name, config, shape, coalesced=False)
    np.savez_compressed(HERE / "torch.npz", **arrays)


if __name__ == "__main__":
    main()
