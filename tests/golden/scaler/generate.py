"""Make the golden values of tests/test_grad_scaler.py with torch 2.13.0: python tests/golden/scaler/generate.py

The scale and the growth tracker after each update, where some steps have found infinity.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

LENGTH = 60
SETTINGS = [
    {},
    {"growth_interval": 3},
    {"growth_interval": 1, "init_scale": 1000.1, "growth_factor": 1.3, "backoff_factor": 0.7},
    {"growth_interval": 2, "init_scale": 2.0**125},
]


def trajectory(settings, found):
    """Return the scale and the growth tracker after each update."""
    scaler = torch.amp.GradScaler("cpu", **settings)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    rows = []
    for is_infinite in found:
        scaler.scale(torch.ones(()))
        parameter.grad = torch.tensor([np.inf if is_infinite else 1.0])
        scaler.step(optimizer)
        scaler.update()
        rows.append([scaler.get_scale(), scaler._get_growth_tracker()])
    return rows


def main():
    assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__
    rng = np.random.default_rng(14)
    cases = []
    for settings in SETTINGS:
        # Often enough for the scale to stay small.
        found = [bool(each) for each in rng.random(LENGTH) < (0.5 if "init_scale" in settings else 0.2)]
        cases.append({"settings": settings, "found": found, "rows": trajectory(settings, found)})
    text = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_name("torch.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
