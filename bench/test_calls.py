"""What a call costs: `pytest bench/test_calls.py --benchmark-enable`; `python bench/calls.py` takes turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import calls
import pytest

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("tensors", calls.TENSORS)
def test_tensors(benchmark: BenchmarkFixture, tensors: int) -> None:
    benchmark.group = f"adam, {calls.ELEMENTS:,} elements"
    benchmark(calls.step_of("Adam", f"flat:{tensors}x{calls.ELEMENTS // tensors}"))


@pytest.mark.parametrize("form", calls.forms("Adam"))
def test_forms(benchmark: BenchmarkFixture, form: str) -> None:
    benchmark.group = f"adam, {calls.FEW}"
    benchmark(calls.forms("Adam")[form])


def test_the_tables(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "TENSORS", [1, 2])
    monkeypatch.setattr(calls, "SIZES", [1024, 2048])
    calls.main(["--optimizer", "SGD", "--rounds", "1", "--seconds", "0", "--threads", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[:1] == " "][1:3] == ["1", "2"]
    assert lines[-1].startswith("Parameter.grad")
