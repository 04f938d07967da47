"""What bench/ is made of: who makes the same steps and passes as ravine. No timing is asserted anywhere."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import threading
import types

import layers as layers_command
import numpy as np
import pytest
import steps as steps_command
from layer_tables import check_layer_results
from peers import competitors
from peers.layers import CONTENDERS, PASSES, SHAPES, WrongResultError, case, make
from peers.numpy_memory import MemoryLimit
from peers.team import Team, together
from ravine import config
from ravine._extras import MissingExtraError
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES
from ravine.benchmark.layers import LAYERS

QUICKEST = ["--quick", "--workload", "mlp_tiny"]
QUICKEST_LAYERS = ["--quick", "--shapes", "4x3x5"]
COMMANDS = pytest.mark.parametrize(
    ("command", "quickest"),
    [(steps_command, QUICKEST), (layers_command, QUICKEST_LAYERS)],
    ids=["steps", "layers"],
)
HERE = [name for name in CONTENDERS if name != "torch" or importlib.util.find_spec("torch")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("workload", ["mlp_tiny", "flat:70001"])  # the second is done in pieces
@pytest.mark.parametrize("rule", competitors.IN_PLACE)
def test_numpys_form_in_place_gives_the_same(rule, workload, dtype):
    ours, grads = workloads.make(workload, dtype)
    theirs = [param.copy() for param in ours]
    ravine, numpy = CASES[rule].ravine(ours, grads), competitors.numpy(rule, theirs, grads)
    for _ in range(7):
        ravine()
        numpy()
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == dtype
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))
        for grad in grads:
            np.multiply(grad, -1.25, out=grad)


def test_numpys_form_of_the_other_rules_is_the_reference(monkeypatch):
    reference = object()
    monkeypatch.setattr(competitors.Case, "reference", lambda self, params, grads: reference)
    arrays = workloads.make("mlp_tiny", "float32")
    steps = {rule: competitors.numpy(rule, *arrays) for rule in CASES}
    assert {rule for rule, step in steps.items() if step is not reference} == set(competitors.IN_PLACE)


@pytest.mark.parametrize(
    ("rule", "states"),
    [
        ("sgd", 0),
        ("momentum", 1),
        ("adagrad", 1),
        ("rmsprop", 1),
        ("rmsprop-centered-momentum", 3),
        ("adam", 2),
        ("adamw", 2),
        ("amsgrad", 3),
        ("prodigy", 4),
        ("muon", 1),
        ("adafactor", 0),
        ("sgd-schedule-free", 1),
    ],
)
def test_states_are_counted(rule, states):
    assert competitors.states(CASES[rule]) == states


@pytest.mark.parametrize("states", [0, 2])
@pytest.mark.parametrize("elements", [1, 337, 4_000_000])
def test_memory_limit_measures_something(elements, states):
    config.set_num_threads(2)
    limit = MemoryLimit(elements, states, "float32")
    assert limit.threads == (2 if elements == 4_000_000 and config.get_threading() != "off" else 1)
    assert 0 < limit.seconds(1e-4) < 1


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
    for layer, shapes in SHAPES.items():
        assert set(LAYERS[layer].shapes) <= set(shapes)
    assert len(SHAPES["batch_norm"]) == 15


@pytest.mark.parametrize("dtype", ["float32", "float64"])
# NumPy does the second and third in pieces, the last of which is smaller.
@pytest.mark.parametrize("shape", [(4, 3, 5), (8, 17, 33, 27), (7, 5, 2, 100, 100), (64, 32)], ids=str)
@pytest.mark.parametrize(("layer", "name"), PASSES)
def test_contenders_compute_the_same(layer, name, shape, dtype):
    for layout in LAYERS[layer].layouts(shape):
        each = case(layer, name, make(shape, layout, dtype))
        for who in HERE:
            contender = each.contender(who)
            for _ in range(2):
                first, *_ = contender.results(contender.run())
                assert first.dtype == dtype
                assert first.shape == each.batch.x.shape


def test_there_is_no_gradient_where_rounding_decides_about_relu():
    batch = make((8, 17, 33, 27), "NCHW", "float64")
    y = case("batch_norm", "training", batch).contender("numpy_new").run()
    near_zero = np.abs(y) < 1e-3
    assert near_zero.any()
    assert not batch.dy[near_zero].any()
    assert np.count_nonzero(batch.dy) > 0.99 * batch.dy.size


@pytest.mark.parametrize(("layer", "name"), PASSES)
def test_a_wrong_result_is_not_timed(layer, name, monkeypatch):
    each = case(layer, name, make((4, 3, 5), "NCHW", "float32"))
    right = each.numpy()

    def a_little_too_large(returned):
        first, *others = right.results(returned)
        return [1.01 * first, *others]

    monkeypatch.setattr(each, "ravine", lambda: dataclasses.replace(right, results=a_little_too_large))
    with pytest.raises(WrongResultError, match=r"^ravine: (y|dx) differs from NumPy's by up to 0\.\d+"):
        each.contender("ravine")
    not_a_number = dataclasses.replace(right, results=lambda returned: [a * np.nan for a in right.results(returned)])
    monkeypatch.setattr(each, "ravine", lambda: not_a_number)
    with pytest.raises(WrongResultError, match=r"^ravine: (y|dx) differs from NumPy's by up to nan"):
        each.contender("ravine")


def test_dropout_that_keeps_too_much_is_not_timed():
    batch = make((100, 100), "NCHW", "float32")
    half = case("dropout", "forward, p=0.5", batch)
    kept = np.random.default_rng(1).random(batch.x.shape) < 0.55
    with pytest.raises(WrongResultError, match=r"^5\d\.\d+% of the elements are kept; expected 50\.000%"):
        half.check([batch.x * kept * 2, kept])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("layer", "name"), PASSES)
def test_a_copy_moves_what_the_pass_moves(layer, name, threads):
    config.set_num_threads(threads)
    batch = make((8, 17, 33, 27), "NHWC", "float32")
    parts = case(layer, name, batch).copy()
    assert len(parts) == (1 if config.get_threading() == "off" else threads)
    for part in parts:
        part()
    read = [batch.dy] if "backward" in name else [batch.x]
    if layer == "batch_norm" and "backward" in name:
        read.append(batch.x)
    np.testing.assert_array_equal(batch.out, sum(read[1:], read[0]))


def test_steps_prints_a_table_and_writes_json(capsys, tmp_path):
    path = tmp_path / "results.json"
    wanted = ["--workload", "flat:5000", "--optimizer", "adam", "--optimizer", "lion"]
    assert steps_command.main([*QUICKEST, *wanted, "--json", str(path)]) == 0
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
    assert measured == [(w, o) for w in ("mlp_tiny", "flat:5000") for o in ("adam", "lion")]
    for result in written["results"]:
        assert result["step_seconds"] > 0
        assert result["vs_numpy"] > 0
        assert result["memory_limit"] > 0
        assert result["vs_torch"] is None


def test_steps_compares_with_torch(capsys):
    pytest.importorskip("torch")
    assert (
        steps_command.main(
            [*QUICKEST, "--optimizer", "adam", "--optimizer", "rmsprop", "--optimizer", "lion", "--torch"]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "vs torch" in printed
    for name, last in (("adam", "x"), ("rmsprop", "x"), ("lion", "%")):  # torch has no Lion
        assert re.search(rf"^{name} .*{last}$", printed, re.MULTILINE), name


def test_layers_prints_a_table_and_writes_json(capsys, tmp_path):
    path = tmp_path / "results.json"
    assert layers_command.main([*QUICKEST_LAYERS, "6x2", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    keys = ("seconds", "vs_copy", "vs_numpy", "new_seconds", "new_vs_numpy")
    results = check_layer_results(printed, path, ("vs NumPy", "vs copy"), keys)
    assert "vs torch" not in printed
    for result in results:
        assert result["vs_torch"] is result["new_vs_torch"] is None


def test_layers_takes_all_shapes(capsys, monkeypatch):
    monkeypatch.setitem(SHAPES, "dropout", [(2, 3), (4, 5)])
    assert layers_command.main(["--quick", "--layer", "dropout", "--all-shapes"]) == 0
    printed = capsys.readouterr().out
    for size in ("2x3 (6 elements)", "4x5 (20 elements)"):
        assert size in printed
    assert "batch norm, " not in printed


def test_layers_compares_with_torch(capsys):
    pytest.importorskip("torch")
    assert layers_command.main([*QUICKEST_LAYERS, "--torch", "--layer", "dropout"]) == 0
    assert "vs torch" in capsys.readouterr().out


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_torch_makes_steps_of_what_it_has(case):
    torch = pytest.importorskip("torch")
    assert competitors.in_torch(case) == hasattr(torch.optim, case.optimizer.__name__)
    if competitors.in_torch(case):
        competitors.torch(case, *workloads.make("mlp_tiny", "float32"))()


@pytest.mark.parametrize(
    ("rule", "implementation", "expected"),
    [
        ("adam", None, {"fused": True}),
        ("adam", "for-loop", {"foreach": False}),
        ("adam", "foreach", {"foreach": True}),
        ("nadam", None, {"foreach": True}),
        ("muon", None, {}),
    ],
)
def test_torch_is_asked_for_its_fastest_form(rule, implementation, expected, monkeypatch):
    asked = []

    class Adam:
        def __init__(self, tensors, *, foreach=None, fused=None):
            asked.append({"foreach": foreach, "fused": fused})
            self.step = lambda: None

    class NAdam:
        def __init__(self, tensors, *, foreach=None):
            asked.append({"foreach": foreach})
            self.step = lambda: None

    class Muon:
        def __init__(self, tensors):
            asked.append({})
            self.step = lambda: None

    torch = types.SimpleNamespace(optim=types.SimpleNamespace(Adam=Adam, NAdam=NAdam, Muon=Muon))
    monkeypatch.setattr(competitors, "require", lambda module, extra: torch)
    monkeypatch.setattr(competitors, "torch_parameters", lambda params, grads: [])
    competitors.torch(CASES[rule], [], [], implementation)()
    assert [{name: value for name, value in asked[0].items() if value is not None}] == [expected]
    assert competitors.in_torch(CASES[rule])
    assert not competitors.in_torch(CASES["lion"])


@COMMANDS
def test_without_torch_the_commands_say_how_to_get_it(capsys, monkeypatch, command, quickest):
    def missing(module, extra):
        raise MissingExtraError(f"install ravine[{extra}]")

    monkeypatch.setattr(command, "require", missing)
    assert command.main([*quickest, "--torch"]) == 1
    output = capsys.readouterr()
    assert "install ravine[oracles]" in output.err
    assert not output.out


@COMMANDS
def test_the_commands_measure_with_the_threads_asked_for(capsys, command, quickest):
    config.set_num_threads(2)
    assert command.main([*quickest, "--dtype", "float64", "--threads", "3"]) == 0
    assert config.get_num_threads() == 2
    printed = capsys.readouterr().out
    assert "threads 3" in printed
    assert "float64" in printed


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (steps_command, ["--workload", "resnet"], "no workload 'resnet'; choose from"),
        (steps_command, ["--optimizer", "adamm"], "invalid choice: 'adamm'"),
        (steps_command, ["--threads", "0"], "'0' is not a whole number, 1 or more"),
        (layers_command, ["--layer", "layer_norm"], "invalid choice: 'layer_norm'"),
        (layers_command, ["--shapes", "2x0"], "is not a shape"),
        (layers_command, ["--json", "."], "is a folder"),
    ],
)
def test_bad_arguments_are_refused_before_measuring(capsys, command, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    output = capsys.readouterr()
    assert message in output.err
    assert not output.out
