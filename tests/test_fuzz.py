"""A short run of tests/fuzz. What it finds is not hidden, and what it knows has not been mended unseen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import attack, models
from fuzz.choices import Choices
from fuzz.known import KNOWN, SETUP, known
from fuzz.one_case import run
from fuzz.oracle import Case, Failure
from ravine.optim import SGD

CASES = 700


@pytest.mark.parametrize("seed", range(3))
def test_a_short_attack(seed):
    found = attack.attack(seed, 0, CASES)
    assert not found.unknown, "\n".join(
        f"{Failure(*failure)}\n    {attack.command(seed, index)}" for index, failure in found.unknown[:20]
    )
    assert sum(found.tried.values()) > CASES


def test_a_short_attack_on_checkpoints():
    found = attack.attack(0, 0, 100, what="checkpoints")
    assert not found.unknown, "\n".join(
        f"{Failure(*failure)}\n    {attack.command(0, index, 'checkpoints')}" for index, failure in found.unknown[:20]
    )
    assert {"load", "save", "flatten", "checkpoint show"} <= {entry for entry, *_ in found.tried}


@pytest.mark.parametrize("dying", [False, True])
def test_what_is_known_still_fails(dying):
    programs = [(each.name, each.mended) for each in KNOWN if each.dies == dying]
    mended = [name for (name, _), works in zip(programs, _outcomes(programs, dying), strict=True) if works]
    assert not mended, "mended: delete it from tests/fuzz/known.py"


def _outcomes(programs, dying):
    """Return whether each program ends well; those that may end the process each run in one of their own."""
    if dying:
        runs = [
            subprocess.run([sys.executable, "-c", SETUP + program], capture_output=True, check=False)
            for _, program in programs
        ]
        return [run.returncode == 0 for run in runs]
    everything = SETUP + "".join(
        f"\ntry:\n    exec({program!r}, dict(globals()))\nexcept Exception:\n    print(0)\nelse:\n    print(1)\n"
        for _, program in programs
    )
    said = subprocess.run([sys.executable, "-c", everything], capture_output=True, text=True, check=True).stdout
    return [line == "1" for line in said.split()]


def test_a_case_is_a_function_of_its_number():
    for index in range(60):
        one, other = run(5, index), run(5, index)
        assert one.tried == other.tried
        assert one.failures == other.failures


def test_numbers_that_differ_from_the_reference_are_found(monkeypatch):
    monkeypatch.setattr(models.Model, "step", lambda self, gradients: None)
    assert any(failure.kind == "WRONG" for index in range(40) for failure in run(0, index).failures)


def test_a_refused_call_that_changes_a_byte_is_found(monkeypatch):
    def step(self, *args, **kwargs):
        self.param_groups[0]["lr"] *= 2
        raise ValueError("SGD: refused")

    monkeypatch.setattr(SGD, "step", step)
    found = [failure for index in range(400) for failure in run(1, index).failures if "SGD.step" in failure.entry]
    assert {"CHANGED", "REFUSED"} <= {failure.kind for failure in found}


def test_errors_that_name_nothing_and_guards_that_change_are_found():
    case = Case(Choices.seeded(0, 0))
    case.attempt("f", lambda: [0][CASES])
    case.attempt("f", lambda: int("x"))
    case.attempt("f", lambda: np.zeros(2) + np.zeros(3))
    assert [failure.kind for failure in case.failures] == ["RAW"] * 3
    before = case.arena.free_bytes([])
    case.arena.buffer[-1] ^= 1
    assert case.arena.free_bytes([]) != before


def test_a_process_that_dies_is_named_and_the_next_goes_on(tmp_path):
    program = tmp_path / "dying.py"
    program.write_text(
        f"import os, sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom fuzz import attack\n"
        "run = attack.run\nattack.run = lambda seed, i, *say: os.abort() if i == 3 else run(seed, i, *say)\n"
        "raise SystemExit(attack.main())\n"
    )
    found = attack.attack(0, 0, 6, program=str(program))
    assert [(index, failure[0]) for index, failure in found.failures if failure[0] == "CRASH"] == [(3, "CRASH")]
    assert known(["CRASH", "f", "-", "-", "died"]) is None
    assert found.tried  # of the child that went on
