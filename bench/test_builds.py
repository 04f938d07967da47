"""bench/builds.py, with one build in both places."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import builds

if TYPE_CHECKING:
    import pytest


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rules", "sgd", "--workloads", "flat:10", "mlp_tiny", "--rounds", "2", "--seconds", "0"]
    builds.main([sys.executable, sys.executable, *arguments])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["before", "after", "after", "/", "before"]
    assert [line.split()[:2] for line in lines] == [["flat:10", "sgd"], ["mlp_tiny", "sgd"]]
