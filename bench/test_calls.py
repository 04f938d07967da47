"""What a call costs: `pytest bench/test_calls.py --benchmark-enable`; `python bench/calls.py` takes turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import calls
import pytest
from ravine import optim

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


@pytest.mark.parametrize("change", calls.changes("Adam"))
def test_changes(benchmark: BenchmarkFixture, change: str) -> None:
    benchmark.group = f"adam, {calls.FEW}, hyper-parameters changed before each step"
    benchmark(calls.changes("Adam")[change])


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "Adagrad"])
def test_the_changes_are_made(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, ...]] = []
    make = getattr(optim, optimizer)
    step = make.step

    def noting(self: optim.Optimizer, grads: object) -> None:
        (group,) = self.param_groups
        seen.append(tuple(group.get(key) for key in ("lr", "betas", "momentum")))
        step(self, grads)

    monkeypatch.setattr(make, "step", noting)
    changes = calls.changes(optimizer)
    for name, change in changes.items():
        seen.clear()
        for _ in range(3):
            change()
        changed = [len(set(values)) > 1 for values in zip(*seen, strict=True)]
        one_cycle = [True, optimizer == "Adam", optimizer == "SGD"]
        expected = {"none": [False] * 3, calls.SAME: [False] * 3, "another lr": [True, False, False]}
        assert changed == expected.get(name, one_cycle), name
    assert list(changes)[1] == calls.SAME


def test_the_tables(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "TENSORS", [1, 2])
    monkeypatch.setattr(calls, "SIZES", [1024, 2048])
    calls.main(["--optimizer", "SGD", "--rounds", "1", "--seconds", "0", "--threads", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[:1] == " "][1:3] == ["1", "2"]
    last = lines.index(next(line for line in lines if line.startswith("Parameter.grad")))
    assert lines[last + 2].startswith("changed before each step")
    assert [line[:28].strip() for line in lines[last + 3 :]] == list(calls.changes("SGD"))
    assert lines[last + 4].split()[-1] == "1.00"


def test_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    calls.main(["--tables", "gradients", "--rounds", "1", "--seconds", "0"])
    assert [line[:28].strip() for line in capsys.readouterr().out.splitlines()[2:]] == [
        "gradients",
        *calls.forms("Adam"),
    ]
