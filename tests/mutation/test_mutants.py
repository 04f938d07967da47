"""The list of mutants stays true: each can still be made. `run.py` makes them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from mutants import AREAS

ROOT = Path(__file__).parents[2]
MUTANTS = [mutant for mutants in AREAS.values() for mutant in mutants]


def test_there_are_enough_and_each_has_a_name_of_its_own():
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 60
    assert sum(bool(mutant.survives) for mutant in MUTANTS) <= 3


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies(mutant):
    assert (ROOT / mutant.path).read_text("utf-8").count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert mutant.why
    files = [word for word in shlex.split(mutant.tests) if word.startswith("tests/")]
    assert files
    assert all((ROOT / file).is_file() for file in files)
