"""Short storms of SIGINT over everything: whole changes or none, no lock held, and it goes on."""

from __future__ import annotations

import os
import signal
import warnings

import pytest
from fuzz import signals
from fuzz.known import HALVES, known_half
from fuzz.subjects import Subject, subjects

MADE = subjects()


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("sender", [False, True], ids=["timer", "process"])
def test_a_short_storm(sender):
    names = list(MADE)[:: 8 if sender else 1]
    for name in names:
        came, problems = signals.storm(MADE[name], 3, seed=1, sender=sender)
        assert came == 3
        assert not problems or known_half(name), f"{name}: {problems}"


@pytest.mark.parametrize("half", HALVES, ids=lambda half: half.what)
def test_what_is_known_to_leave_a_half_still_does(half):
    places = signals.at_each_line(MADE[half.subject], half.acts)
    assert any(problem is not None for problem in places), "mended: delete it from tests/fuzz/known.py"


def test_subjects_that_are_known_to_be_whole():
    whole = [name for name in MADE if known_half(name) is None]
    assert "Adam.state_dict" in whole


@pytest.mark.skipif("libtsan" in os.environ.get("LD_PRELOAD", ""), reason="holds signals back until a system call")
def test_a_half_is_found():
    def half():
        values = [0, 0]

        def act(k):
            values[0] += 1
            sum(range(10_000))
            values[1] += 1

        return Subject(act, lambda: values)

    came, problems = signals.storm(half, 20, seed=0)
    assert came == 20
    assert any("half of a change" in problem for problem in problems)
