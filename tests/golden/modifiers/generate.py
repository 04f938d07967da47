"""Make the golden values of modified updates, in float64: python tests/golden/modifiers/generate.py

For each case of tests/modifier_cases.py: where pytorch_optimizer's optimizer arrives.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytorch_optimizer
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from modifier_cases import MODIFIER_CASES, STEPS, problem

HERE = Path(__file__).parent


def main():
    assert version("torch").split("+")[0] == "2.13.0", version("torch")
    assert version("pytorch_optimizer").startswith("4.1"), version("pytorch_optimizer")
    start, grads = problem()
    arrays = {}
    for case in MODIFIER_CASES:
        params = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
        optimizer = getattr(pytorch_optimizer, case.theirs)(params.values(), foreach=False, **case.settings)
        for t in range(STEPS):
            for name, p in params.items():
                p.grad = torch.tensor(grads[name][t])
            optimizer.step()
        arrays |= {f"{case.name}/{name}": p.detach().numpy() for name, p in params.items()}
    np.savez_compressed(HERE / "pytorch_optimizer.npz", **arrays)


if __name__ == "__main__":
    main()
