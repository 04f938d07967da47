"""What `ravine bench` and bench/ are made of. No timing is asserted anywhere."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from ravine import _core, config, optim
from ravine._extras import MissingExtraError
from ravine.benchmark import command, workloads
from ravine.benchmark.cases import CASES
from ravine.benchmark.memory import MemoryLimit
from ravine.benchmark.timing import interleaved, median_ratio, repeated
from ravine.cli import main

QUICKEST = ["bench", "--quick", "--workload", "mlp_tiny"]


@pytest.mark.parametrize(
    ("workload", "tensors", "parameters"),
    [
        ("mlp_tiny", 6, 337),
        ("mnist_mlp", 4, 101770),
        ("lenet5", 10, 61706),
        ("resnet50", 161, 25557032),
        ("gpt2_small", 148, 124439808),
        ("flat:3001", 1, 3001),
    ],
)
def test_workloads_have_the_sizes_of_the_real_models(workload, tensors, parameters):
    assert len(workloads.shapes(workload)) == tensors
    assert workloads.count(workload) == parameters


def test_lenet5_has_torchs_shapes():
    assert workloads.shapes("lenet5")[:5] == [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400)]


@pytest.mark.parametrize("name", ["", "resnet", "flat", "flat:", "flat:0", "flat:-1", "flat:1e6", "resnet50:3"])
def test_unknown_workloads_are_refused(name):
    with pytest.raises(ValueError, match=r"choose from mlp_tiny, .* or flat:N"):
        workloads.shapes(name)


def test_cases_cover_every_rule():
    optimizers = {name for name, value in vars(optim).items() if isinstance(value, type)} - {"Optimizer"}
    assert {case.optimizer.__name__ for case in CASES.values()} == optimizers
    states = sorted(len(states) for name, (states, _) in _core.rules().items() if name != "lerp")  # no optimizer's rule
    # AdamW is the one class without a rule of its own.
    assert sorted(case.states for name, case in CASES.items() if name != "adamw") == states


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("workload", ["mlp_tiny", "flat:70001"])  # the second is done in pieces
@pytest.mark.parametrize("rule", CASES)
def test_numpy_form_gives_the_same_bits(rule, workload, dtype):
    ours, grads = workloads.make(workload, dtype)
    theirs = [param.copy() for param in ours]
    ravine, numpy = CASES[rule].ravine(ours, grads), CASES[rule].numpy(theirs, grads)
    for _ in range(7):  # RAdam changes its form after the fifth
        ravine()
        numpy()
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == dtype
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))
        for grad in grads:
            np.multiply(grad, -1.25, out=grad)


@pytest.mark.parametrize("states", [0, 2])
@pytest.mark.parametrize("elements", [1, 337, 4_000_000])
def test_memory_limit_measures_something(elements, states):
    config.set_num_threads(2)
    limit = MemoryLimit(elements, states, "float32")
    assert limit.threads == (2 if elements == 4_000_000 and config.get_threading() != "off" else 1)
    assert 0 < limit.seconds(1e-4) < 1


def test_contenders_take_turns():
    calls = []

    def contender(name, seconds):
        def measure():
            calls.append(name)
            return seconds

        return measure

    times = interleaved({"a": contender("a", 2.0), "b": contender("b", 1.0)}, rounds=2, settle=True)
    assert "".join(calls) == "ababab"
    assert times == {"a": [2.0, 2.0], "b": [1.0, 1.0]}
    assert median_ratio(times["a"], times["b"]) == 2


def test_repeated_calls_often_enough():
    calls = []
    measure = repeated(lambda: calls.append(0), 1e-4)
    calls.clear()
    assert measure() > 0
    assert len(calls) > 1


def test_bench_prints_a_table_and_writes_json(capsys, tmp_path):
    path = tmp_path / "results.json"
    assert (
        main([*QUICKEST, "--workload", "flat:5000", "--optimizer", "adam", "--optimizer", "sgd", "--json", str(path)])
        == 0
    )
    printed = capsys.readouterr().out
    info = config.info()
    for part in (info["numpy"], info["instruction set"], info["threads"], "float32", "vs NumPy", "memory limit"):
        assert part in printed
    assert "mlp_tiny: 337 parameters in 6 arrays" in printed
    assert "flat:5000: 5,000 parameters in 1 array\n" in printed
    assert "vs torch" not in printed

    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["machine"] == info
    measured = [(result["workload"], result["optimizer"]) for result in written["results"]]
    assert measured == [(w, o) for w in ("mlp_tiny", "flat:5000") for o in ("adam", "sgd")]
    for result in written["results"]:
        assert result["step_seconds"] > 0
        assert result["vs_numpy"] > 0
        assert result["memory_limit"] > 0
        assert result["vs_torch"] is None


def test_bench_measures_with_the_threads_asked_for(capsys):
    config.set_num_threads(2)
    assert main([*QUICKEST, "--optimizer", "sgd", "--dtype", "float64", "--threads", "3"]) == 0
    assert config.get_num_threads() == 2
    printed = capsys.readouterr().out
    assert "threads 3" in printed
    assert "float64" in printed


def test_bench_compares_with_torch(capsys):
    pytest.importorskip("torch")
    assert main([*QUICKEST, "--optimizer", "adam", "--optimizer", "rmsprop", "--optimizer", "lion", "--torch"]) == 0
    printed = capsys.readouterr().out
    assert "vs torch" in printed
    for name, last in (("adam", "x"), ("rmsprop", "x"), ("lion", "%")):  # torch has no Lion
        assert re.search(rf"^{name} .*{last}$", printed, re.MULTILINE), name


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_cases_know_whether_torch_has_them(case):
    torch = pytest.importorskip("torch")
    assert case.in_torch == hasattr(torch.optim, case.optimizer.__name__)
    if case.in_torch:
        case.torch(*workloads.make("mlp_tiny", "float32"))()


def test_bench_without_torch_says_how_to_get_it(capsys, monkeypatch):
    def missing(module, extra):
        raise MissingExtraError(f"install ravine[{extra}]")

    monkeypatch.setattr(command, "require", missing)
    assert main([*QUICKEST, "--torch"]) == 1
    output = capsys.readouterr()
    assert "install ravine[oracles]" in output.err
    assert not output.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "resnet"], "no workload 'resnet'; choose from"),
        (["--workload", "flat:x"], "or flat:N"),
        (["--optimizer", "adamm"], "invalid choice: 'adamm'"),
        (["--dtype", "float16"], "invalid choice: 'float16'"),
        (["--threads", "0"], "'0' is not a whole number, 1 or more"),
        (["--threads", "two"], "'two' is not a whole number"),
        (["--json", "no/such/folder/x.json"], "'no/such/folder/x.json'"),
        (["--json", "."], "is a folder"),
    ],
)
def test_bad_arguments_are_refused_before_measuring(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", *arguments])
    assert stopped.value.code == 2
    output = capsys.readouterr()
    assert message in output.err
    assert not output.out
