"""Make the golden values of tests/test_schedules_values.py with torch 2.13.0: python tests/golden/schedules/generate.py

Learning rate and momentum of each group, at each step, for every configuration of the table of schedules.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from schedule_cases import STEPS, TORCH_CASES, sequence, torch_optimizer, torch_schedules


def main():
    assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__
    arrays = {}
    for i, case in enumerate(TORCH_CASES):
        schedule = case.make(torch_schedules(), torch_optimizer(case.optimizer))
        arrays[str(i)] = np.array(sequence(schedule, min(STEPS, case.torch_steps)))
    names = json.dumps([case.name for case in TORCH_CASES])
    np.savez_compressed(Path(__file__).with_name("torch.npz"), names=names, **arrays)


if __name__ == "__main__":
    main()
