"""Count the instructions of a step of six small tensors, most of which are Python's, with valgrind's callgrind.

A count is the same whatever else the machine does, so that a change of the path from Python to the kernels shows where
a timing would not tell it from noise:

    python bench/instructions.py                 # print the counts beside those on record
    python bench/instructions.py --record        # put them on record

Two runs of different lengths are counted for each rule and the difference is divided by the difference of their
lengths, so that the interpreter's start cancels. Counts belong to one build of Python, NumPy and ravine; the record
says which, and a comparison with other versions tells so. Valgrind knows no AVX-512: AVX2 kernels are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ravine import _core
from ravine.benchmark.cases import CASES

RECORD = Path(__file__).with_name("instructions.json")
RULES = ("sgd", "momentum", "adam")
WORKLOAD = "mlp_tiny"
SHORT, LONG = 200, 1200

_PROGRAM = """
import sys
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES
step = CASES[sys.argv[1]].ravine(*workloads.make(sys.argv[2], "float32"))
for _ in range(int(sys.argv[3])):
    step()
"""

# Everything that differs from run to run without a reason: the seed of hashes, threads, byte code written or not.
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "RAVINE_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class CountError(Exception):
    """Instructions cannot be counted here."""


def instructions(rule: str, steps: int) -> int:
    """Return how many instructions a process executes that starts, does so many steps, and ends.

    Raises:
        CountError: valgrind is not installed, or failed.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CountError("this needs valgrind, which is not installed; run: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as folder:
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable, "-c", _PROGRAM]
        done = subprocess.run(
            [*command, rule, WORKLOAD, str(steps)],
            env={**os.environ, **_ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        counted = re.search(r"Collected : (\d+)", done.stderr)
        if done.returncode or not counted:
            raise CountError(f"valgrind ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return int(counted[1])


def a_step(rule: str) -> int:
    """Return how many instructions one step executes.

    Raises:
        CountError: valgrind is not installed, or failed.
    """
    return round((instructions(rule, LONG) - instructions(rule, SHORT)) / (LONG - SHORT))


def versions() -> dict[str, str]:
    """Return what counts depend on beside the code."""
    return {"python": platform.python_version(), "numpy": np.__version__, "compiler": _core.compiler}


def report(counts: dict[str, int], record: dict[str, Any]) -> str:
    """Return a table of counts beside those of a record."""
    known = record.get("instructions a step", {})
    lines = [f"{'':12}{'instructions a step':>20}{'on record':>12}{'change':>9}"]
    for rule, count in counts.items():
        line = f"{rule:12}{count:20,}"
        if rule in known:
            line += f"{known[rule]:12,}{count / known[rule] - 1:+9.1%}"
        lines.append(line)
    differing = [
        f"{name} {record['versions'].get(name)} on record, {version} here"
        for name, version in versions().items()
        if known and record["versions"].get(name) != version
    ]
    return "\n".join([*lines, *(f"Not comparable: {text}." for text in differing)])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", choices=CASES, metavar="NAME", default=RULES, help=", ".join(CASES))
    parser.add_argument("--record", action="store_true", help=f"write the counts to {RECORD.name}")
    arguments = parser.parse_args(argv)
    try:
        counts = {rule: a_step(rule) for rule in arguments.rules}
        record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
        print(report(counts, record))
        if arguments.record:
            content = {"workload": WORKLOAD, "versions": versions(), "instructions a step": counts}
            RECORD.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except (CountError, OSError) as error:
        print(f"instructions.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
