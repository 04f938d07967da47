"""Coverage-guided fuzzing: python tests/fuzz/guided.py [--what checkpoints] -max_total_time=300 [CORPUS]

Needs atheris (pip install atheris). The bytes that libFuzzer mutates are the choices of a case; ravine's Python is
instrumented, the compiled part is not. With `--what checkpoints` they are a file: after one byte, which says how, all
of its bytes, its manifest (under right checksums), or the choices of an attack. An empty CORPUS gets real ones.
A failure that is not known ends the run, and its bytes are kept: give the file's name to run it alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np

sys.path[0] = str(Path(__file__).parents[1])

with atheris.instrument_imports(include=["ravine"]):
    import ravine
    import ravine.cli
    import ravine.nn.functional
    import ravine.optim.lr_scheduler
    import ravine.optim.swa_utils

from fuzz.checkpoint_files import manifest_of
from fuzz.checkpoints import Reader
from fuzz.choices import Choices
from fuzz.known import known
from fuzz.one_case import run_with
from fuzz.oracle import Case

FORMS = ("the file", "its manifest", "choices")


def choices_of(data: bytes) -> Choices:
    provider = atheris.FuzzedDataProvider(data)
    return Choices(lambda n: provider.ConsumeIntInRange(0, n - 1))


def check(case: Case) -> None:
    unknown = [str(failure) for failure in case.failures if known(failure) is None]
    if unknown:
        raise AssertionError("\n".join(unknown))


def one(data: bytes) -> None:
    """Run the case of some bytes."""
    check(run_with(choices_of(data)))


def checkpoints(reader: Reader) -> Callable[[bytes], None]:
    """Return what reads the checkpoint of some bytes."""

    def read(data: bytes) -> None:
        form = FORMS[data[0] % len(FORMS)] if data else FORMS[0]
        if form == "choices":
            check(run_with(choices_of(data[1:]), what="checkpoints"))
        else:
            check(reader.read(data[1:], is_manifest=form == "its manifest"))

    return read


def seed(corpus: Path, reader: Reader) -> None:
    """Write real checkpoints, and their manifests, into a folder without files."""
    if any(corpus.iterdir()):
        return
    for i, content in enumerate(reader.contents()):
        (corpus / f"file-{i}").write_bytes(b"\0" + content)
        (corpus / f"manifest-{i}").write_bytes(b"\1" + json.dumps(manifest_of(content)).encode())
        (corpus / f"choices-{i}").write_bytes(b"\2" + np.random.default_rng(i).bytes(200))


def main() -> None:
    np.seterr(all="ignore")
    print(f"ravine {ravine.__version__}", flush=True)
    arguments, target = sys.argv, one
    if arguments[1:2] == ["--what"]:
        assert arguments[2:3] == ["checkpoints"], "expected --what checkpoints"
        del arguments[1:3]
        reader = Reader()
        target = checkpoints(reader)
        for folder in filter(Path.is_dir, map(Path, arguments[1:])):
            seed(folder, reader)
    atheris.Setup(arguments, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
