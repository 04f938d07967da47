"""What `ravine bench` and bench/ are made of. No timing is asserted anywhere."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import threading

import numpy as np
import pytest
from ravine import _core, config, optim
from ravine._extras import MissingExtraError
from ravine.benchmark import layers_command, session, workloads
from ravine.benchmark.cases import CASES
from ravine.benchmark.layers import CONTENDERS, LAYERS, WrongResultError, make
from ravine.benchmark.memory import MemoryLimit
from ravine.benchmark.timing import Team, interleaved, median_ratio, repeated, together
from ravine.cli import main

QUICKEST = ["bench", "--quick", "--workload", "mlp_tiny"]
QUICKEST_LAYERS = ["bench", "layers", "--quick", "--shapes", "4x3x5"]
HERE = [name for name in CONTENDERS if name != "torch" or importlib.util.find_spec("torch")]
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


def test_cases_cover_every_rule():
    classes = {name: value for name, value in vars(optim).items() if isinstance(value, type)}
    optimizers = {name for name, value in classes.items() if getattr(value, "_rules", ())}
    assert {case.optimizer.__name__ for case in CASES.values()} == optimizers
    # Rules that are only a part of an optimizer, arrays that are only room, and next to nothing of a factored rule.
    parts = {"lerp", "muon_nesterov", "swats_descent", "adafactor_factored"}
    states = {name: len(schema["states"]) for name, schema in _core.rules().items() if name not in parts}
    states |= {"muon": 1, "adafactor": 0}
    # AdamW is the one class without a rule of its own.
    assert sorted(case.states for name, case in CASES.items() if name != "adamw") == sorted(states.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("workload", ["mlp_tiny", "flat:70001"])  # the second is done in pieces
@pytest.mark.parametrize("rule", CASES)
def test_numpy_form_gives_the_same(rule, workload, dtype):
    ours, grads = workloads.make(workload, dtype)
    theirs = [param.copy() for param in ours]
    ravine, numpy = CASES[rule].ravine(ours, grads), CASES[rule].numpy(theirs, grads)
    for _ in range(7):  # RAdam changes its form after the fifth
        ravine()
        numpy()
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == dtype
            if CASES[rule].exact:
                np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))
            else:
                np.testing.assert_allclose(a, b, rtol=1e-4 if dtype == "float32" else 1e-10, atol=1e-7)
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


def test_functions_that_are_timed_together_run_at_the_same_time():
    everyone = threading.Barrier(3)
    threads = set()

    def function():
        everyone.wait(60)
        threads.add(threading.get_ident())

    measure = together([function] * 3, 1e-4)
    assert measure() > 0
    assert measure() > 0
    assert len(threads) == 3, "threads are kept from turn to turn"
    assert threading.get_ident() in threads


@pytest.mark.parametrize("failing", [0, 1])
def test_a_function_that_fails_leaves_no_thread_waiting(failing):
    def fail(passes):
        raise ZeroDivisionError

    functions = [lambda passes: None] * 2
    functions[failing] = fail
    with pytest.raises((ZeroDivisionError, threading.BrokenBarrierError)):
        Team(functions).seconds(1)


def test_layers_are_measured_on_the_shapes_of_real_models():
    for layer, shapes in layers_command.SHAPES.items():
        assert {tuple(map(int, shape.split("x"))) for shape in shapes} <= set(LAYERS[layer].shapes)
    assert len(LAYERS["batch_norm"].shapes) == 15
    assert LAYERS["batch_norm"].layouts((64, 32)) == ("NCHW",)
    assert LAYERS["batch_norm"].layouts((64, 32, 5)) == ("NCHW", "NHWC")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
# NumPy does the second and third in pieces, the last of which is smaller.
@pytest.mark.parametrize("shape", [(4, 3, 5), (8, 17, 33, 27), (7, 5, 2, 100, 100), (64, 32)], ids=str)
@pytest.mark.parametrize(("layer", "name"), PASSES)
def test_contenders_compute_the_same(layer, name, shape, dtype):
    for layout in LAYERS[layer].layouts(shape):
        case = LAYERS[layer].passes[name](make(shape, layout, dtype))
        for who in HERE:
            contender = case.contender(who)
            for _ in range(2):
                first, *_ = contender.results(contender.run())
                assert first.dtype == dtype
                assert first.shape == case.batch.x.shape


def test_there_is_no_gradient_where_rounding_decides_about_relu():
    batch = make((8, 17, 33, 27), "NCHW", "float64")
    y = LAYERS["batch_norm"].passes["training"](batch).contender("numpy_new").run()
    near_zero = np.abs(y) < 1e-3
    assert near_zero.any()
    assert not batch.dy[near_zero].any()
    assert np.count_nonzero(batch.dy) > 0.99 * batch.dy.size


@pytest.mark.parametrize(("layer", "name"), PASSES)
def test_a_wrong_result_is_not_timed(layer, name, monkeypatch):
    case = LAYERS[layer].passes[name](make((4, 3, 5), "NCHW", "float32"))
    right = case.numpy()

    def a_little_too_large(returned):
        first, *others = right.results(returned)
        return [1.01 * first, *others]

    monkeypatch.setattr(case, "ravine", lambda: dataclasses.replace(right, results=a_little_too_large))
    with pytest.raises(WrongResultError, match=r"^ravine: (y|dx) differs from NumPy's by up to 0\.\d+"):
        case.contender("ravine")
    not_a_number = dataclasses.replace(right, results=lambda returned: [a * np.nan for a in right.results(returned)])
    monkeypatch.setattr(case, "ravine", lambda: not_a_number)
    with pytest.raises(WrongResultError, match=r"^ravine: (y|dx) differs from NumPy's by up to nan"):
        case.contender("ravine")


def test_dropout_that_keeps_too_much_is_not_timed():
    batch = make((100, 100), "NCHW", "float32")
    half = LAYERS["dropout"].passes["forward, p=0.5"](batch)
    kept = np.random.default_rng(1).random(batch.x.shape) < 0.55
    with pytest.raises(WrongResultError, match=r"^5\d\.\d+% of the elements are kept; expected 50\.000%"):
        half.check([batch.x * kept * 2, kept])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("layer", "name"), PASSES)
def test_a_copy_moves_what_the_pass_moves(layer, name, threads):
    config.set_num_threads(threads)
    batch = make((8, 17, 33, 27), "NHWC", "float32")
    parts = LAYERS[layer].passes[name](batch).copy()
    assert len(parts) == (1 if config.get_threading() == "off" else threads)
    for part in parts:
        part()
    read = [batch.dy] if "backward" in name else [batch.x]
    if layer == "batch_norm" and "backward" in name:
        read.append(batch.x)
    np.testing.assert_array_equal(batch.out, sum(read[1:], read[0]))


def test_bench_layers_prints_a_table_and_writes_json(capsys, tmp_path):
    path = tmp_path / "results.json"
    assert main([*QUICKEST_LAYERS, "6x2", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    info = config.info()
    for part in (info["numpy"], info["instruction set"], info["threads"], "float32", "vs NumPy", "vs copy"):
        assert part in printed
    for title in (
        "batch norm, 4x3x5 (60 elements), channels first\n",
        "batch norm, 4x3x5 (60 elements), channels last\n",
        "batch norm, 6x2 (12 elements)\n",
        "dropout, 4x3x5 (60 elements)\n",
        "dropout, 6x2 (12 elements)\n",
    ):
        assert title in printed
    assert "vs torch" not in printed

    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["machine"] == info
    measured = [tuple(result[key] for key in ("layer", "layout", "operation")) for result in written["results"]]
    batch_norm, dropout = ([name for layer, name in PASSES if layer == wanted] for wanted in LAYERS)
    assert measured == (
        [("batch_norm", layout, name) for layout in ("NCHW", "NHWC", "NCHW") for name in batch_norm]
        + [("dropout", "NCHW", name) for _ in range(2) for name in dropout]
    )
    for result in written["results"]:
        for key in ("seconds", "vs_copy", "vs_numpy", "new_seconds", "new_vs_numpy"):
            assert result[key] > 0
        assert result["vs_torch"] is result["new_vs_torch"] is None


def test_bench_layers_takes_all_shapes(capsys, monkeypatch):
    monkeypatch.setitem(LAYERS, "dropout", dataclasses.replace(LAYERS["dropout"], shapes=[(2, 3), (4, 5)]))
    assert main(["bench", "layers", "--quick", "--layer", "dropout", "--shapes", "all"]) == 0
    printed = capsys.readouterr().out
    assert "2x3 (6 elements)" in printed
    assert "4x5 (20 elements)" in printed
    assert "batch norm, " not in printed


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


def test_bench_layers_compares_with_torch(capsys):
    pytest.importorskip("torch")
    assert main([*QUICKEST_LAYERS, "--torch", "--layer", "dropout"]) == 0
    assert "vs torch" in capsys.readouterr().out


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


@pytest.mark.parametrize("quickest", [QUICKEST, QUICKEST_LAYERS], ids=["optimizers", "layers"])
def test_bench_without_torch_says_how_to_get_it(capsys, monkeypatch, quickest):
    def missing(module, extra):
        raise MissingExtraError(f"install ravine[{extra}]")

    monkeypatch.setattr(session, "require", missing)
    assert main([*quickest, "--torch"]) == 1
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
        (["layers", "--layer", "layer_norm"], "invalid choice: 'layer_norm'"),
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
