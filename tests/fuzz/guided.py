"""Coverage-guided fuzzing: python tests/fuzz/guided.py -max_total_time=300 [CORPUS]

Needs atheris (pip install atheris). The bytes that libFuzzer mutates are the choices of a case; ravine's Python is
instrumented, the compiled part is not.
A failure that is not known ends the run, and its bytes are kept: give the file's name to run it alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris
import numpy as np

sys.path[0] = str(Path(__file__).parents[1])

with atheris.instrument_imports(include=["ravine"]):
    import ravine
    import ravine.nn.functional
    import ravine.optim.lr_scheduler
    import ravine.optim.swa_utils

from fuzz.choices import Choices
from fuzz.known import known
from fuzz.one_case import run_with


def one(data: bytes) -> None:
    """Run the case of some bytes."""
    provider = atheris.FuzzedDataProvider(data)
    case = run_with(Choices(lambda n: provider.ConsumeIntInRange(0, n - 1)))
    unknown = [str(failure) for failure in case.failures if known(failure) is None]
    if unknown:
        raise AssertionError("\n".join(unknown))


if __name__ == "__main__":
    np.seterr(all="ignore")
    print(f"ravine {ravine.__version__}", flush=True)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
