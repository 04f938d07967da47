"""The command `ravine bench` and what it is made of. No timing is asserted anywhere."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from layer_tables import check_layer_results
from ravine import config, optim
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES, Case
from ravine.benchmark.layers import LAYERS, make
from ravine.benchmark.timing import interleaved, median_ratio, repeated
from ravine.cli import main

QUICKEST = ["bench", "--quick", "--workload", "mlp_tiny"]
QUICKEST_LAYERS = ["bench", "layers", "--quick", "--shapes", "4x3x5"]
PASSES = [(layer, name) for layer in LAYERS for name in LAYERS[layer].passes]


@pytest.mark.parametrize(
    ("workload", "tensors", "parameters"),
    [
        ("mlp_tiny", 6, 337),
        ("mnist_mlp", 4, 101770),
        ("lenet5", 10, 61706),
        ("resnet50", 161, 25557032),
        ("gpt2_small", 148, 124439808),
        ("flat:3001", 1, 3001),
        ("flat:8x3001", 8, 24008),
    ],
)
def test_workloads_have_the_sizes_of_the_real_models(workload, tensors, parameters):
    assert len(workloads.shapes(workload)) == tensors
    assert workloads.count(workload) == parameters


def test_lenet5_has_torchs_shapes():
    assert workloads.shapes("lenet5")[:5] == [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400)]


@pytest.mark.parametrize(
    "name",
    ["", "resnet", "flat", "flat:", "flat:0", "flat:-1", "flat:1e6", "flat:0x8", "flat:2x", "flat:8x8x8", "resnet50:3"],
)
def test_unknown_workloads_are_refused(name):
    with pytest.raises(ValueError, match=r"choose from mlp_tiny, .* or flat:N"):
        workloads.shapes(name)


def test_cases_cover_every_optimizer_that_takes_gradients():
    public = [getattr(optim, name) for name in optim.__all__]
    optimizers = {value for value in public if isinstance(value, type) and issubclass(value, optim.Optimizer)}
    optimizers -= {optim.Optimizer, optim.Handoff, optim.LBFGS}
    assert {case.optimizer for case in CASES.values()} == optimizers
    assert {case.optimizer for case in CASES.values() if not case.options} == optimizers


def test_cases_have_names_and_variants():
    assert CASES["adabelief"] == Case(optim.AdaBelief)
    assert CASES["adabelief-nesterov"] == Case(optim.AdaBelief, {"nesterov": True})
    assert CASES["nesterov"] == Case(optim.SGD, {"momentum": 0.9, "nesterov": True})
    assert "sgd-nesterov" not in CASES
    assert "sparse-adam" in CASES
    assert "sparseadam" not in CASES
    assert [name for name, case in CASES.items() if case.matrices] == ["muon"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("workload", ["mlp_tiny", "flat:70001"])
@pytest.mark.parametrize("rule", CASES)
def test_the_reference_takes_the_same_steps(rule, workload, dtype):
    ours, grads = workloads.make(workload, dtype)
    theirs = [param.copy() for param in ours]
    ravine, numpy = CASES[rule].ravine(ours, grads), CASES[rule].reference(theirs, grads)
    for _ in range(7):  # RAdam changes its form after the fifth
        ravine()
        numpy()
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == dtype
            if CASES[rule].matrices:  # with products, whose bits are not fixed
                np.testing.assert_allclose(a, b, rtol=1e-4 if dtype == "float32" else 1e-10, atol=1e-7)
            else:
                np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))
        for grad in grads:
            np.multiply(grad, -1.25, out=grad)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 3, 5), (8, 17, 33, 27), (64, 32)], ids=str)
@pytest.mark.parametrize(("layer", "name"), PASSES)
def test_layers_and_reference_compute_the_same(layer, name, shape, dtype):
    for layout in LAYERS[layer].layouts(shape):
        batch, options = make(shape, layout, dtype), LAYERS[layer].passes[name]
        assert batch.shape == shape
        reference = LAYERS[layer].reference(batch, **options)
        expected, *others = reference.results(reference.run())
        for out in (batch.out, None):
            contender = LAYERS[layer].ours(batch, out, **options)
            first, *ours = contender.results(contender.run())
            assert first.dtype == dtype
            np.testing.assert_array_equal(first, expected)
            for a, b in zip(ours, others, strict=True):
                np.testing.assert_array_equal(*(array != 0 for array in (a, b)) if layer == "dropout" else (a, b))


def test_layers_are_measured_in_both_layouts_where_there_are_two():
    assert LAYERS["batch_norm"].layouts((64, 32)) == ("NCHW",)
    assert LAYERS["batch_norm"].layouts((64, 32, 5)) == ("NCHW", "NHWC")
    assert LAYERS["dropout"].layouts((64, 32, 5)) == ("NCHW",)


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
    for part in (info["numpy"], info["instruction set"], info["threads"], "float32", "step", "vs NumPy"):
        assert part in printed
    assert "mlp_tiny: 337 parameters in 6 arrays" in printed
    assert "flat:5000: 5,000 parameters in 1 array\n" in printed

    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["machine"] == info
    measured = [(result["workload"], result["optimizer"]) for result in written["results"]]
    assert measured == [(w, o) for w in ("mlp_tiny", "flat:5000") for o in ("adam", "sgd")]
    for result in written["results"]:
        assert result["step_seconds"] > 0
        assert result["vs_numpy"] > 0
        assert result["numpy_seconds"] > 0


def test_bench_measures_with_the_threads_asked_for(capsys):
    config.set_num_threads(2)
    assert main([*QUICKEST, "--optimizer", "sgd", "--dtype", "float64", "--threads", "3"]) == 0
    assert config.get_num_threads() == 2
    printed = capsys.readouterr().out
    assert "threads 3" in printed
    assert "float64" in printed


def test_bench_layers_prints_a_table_and_writes_json(capsys, tmp_path):
    path = tmp_path / "results.json"
    assert main([*QUICKEST_LAYERS, "6x2", "--json", str(path)]) == 0
    keys = ("numpy_seconds", "seconds", "vs_numpy", "new_seconds", "new_vs_numpy")
    check_layer_results(capsys.readouterr().out, path, ("vs NumPy", "new", "out="), keys)


@pytest.mark.parametrize("layer", LAYERS)
def test_bench_layers_takes_its_own_shapes_by_default(capsys, monkeypatch, layer):
    monkeypatch.setitem(LAYERS, layer, dataclasses.replace(LAYERS[layer], shapes=[(2, 3), (4, 5)]))
    assert main(["bench", "layers", "--quick", "--layer", layer]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if "elements)" in line]
    title = LAYERS[layer].title
    assert titles == [f"{title}, 2x3 (6 elements)", f"{title}, 4x5 (20 elements)"]


@pytest.mark.parametrize("before", [True, False])
def test_bench_layers_takes_shared_options_on_either_side(capsys, before):
    config.set_num_threads(2)
    shared = ["--quick", "--dtype", "float64", "--threads", "3"]
    own = ["layers", "--layer", "dropout", "--shapes", "4x3x5"]
    assert main(["bench", *(shared + own if before else own + shared)]) == 0
    assert config.get_num_threads() == 2
    printed = capsys.readouterr().out
    assert "threads 3" in printed
    assert "float64" in printed


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
        (["layers", "--layer", "layer_norm"], "invalid choice: 'layer_norm'"),
        (["layers", "--shapes", "all"], "'all' is not a shape of 2 to 5 dimensions, such as"),
        (["layers", "--shapes", "7"], "'7' is not a shape of 2 to 5 dimensions, such as"),
        (["layers", "--shapes", "2x3x4x5x6x7"], "is not a shape"),
        (["layers", "--shapes", "2x0"], "is not a shape"),
        (["layers", "--shapes", "2x-3"], "is not a shape"),
        (["layers", "--shapes", "1x8x1"], "'1x8x1' has one value a channel"),
        (["--workload", "mlp_tiny", "layers"], "--workload and --optimizer are for the optimizers"),
        (["--optimizer", "adam", "layers"], "--workload and --optimizer are for the optimizers"),
    ],
)
def test_bad_arguments_are_refused_before_measuring(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", *arguments])
    assert stopped.value.code == 2
    output = capsys.readouterr()
    assert message in output.err
    assert not output.out
