"""bench/peers: everyone does the same step, and what is written about it. No timing is asserted."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from peers import PEERS, __main__, batch_norm, measure, tables, whole, worker
from peers.layers import WrongResultError, case, make
from peers.machine import describe
from peers.measure import Contenders, Ratio
from peers.memory import StreamingLimit, _loops
from peers.peer import RULES, Peer, Running, Work
from ravine import config
from ravine.benchmark.session import QUICK

PAGE = "docs/performance.md"
TASK = worker.Task("adam", "mlp_tiny", 1e-4)
SHORT = [
    "--quick",
    "--parts",
    "steps",
    "--rules",
    "adam",
    "--workloads",
    "flat:3001",
    "--threads",
    "1",
    "--one-process",
]


def work(rule: str, workload: str) -> Work:
    """Gradients are kept away from 0, where it matters in which way an epsilon is added and a moment rounded."""
    made = Work.of(rule, workload)
    for grad in made.grads:
        np.add(grad, np.copysign(np.float32(0.01), grad), out=grad)
    return made


@pytest.mark.filterwarnings("ignore")  # the peers' own
@pytest.mark.parametrize("workload", ["mlp_tiny", "flat:70001"])
@pytest.mark.parametrize(
    ("name", "rule"), [(name, rule) for name, peer in PEERS.items() if name != "ravine" for rule in peer.rules]
)
def test_peers_take_the_same_steps(name, rule, workload):
    peer = PEERS[name]
    if not peer.installed:
        pytest.skip(f"{peer.title} is not installed: {peer.install}")
    if name == "deepspeed" and not (shutil.which("c++") and shutil.which("ninja")):
        pytest.skip("DeepSpeed needs a C++ compiler and ninja")
    config.set_num_threads(2)
    before, ours, theirs = (work(rule, workload) for _ in range(3))
    kept = [grad.copy() for grad in theirs.grads]
    ravine, other = PEERS["ravine"].start(ours), peer.start(theirs)
    ravine.steps(3)
    other.steps(3)
    for start, a, b in zip(before.params, ravine.results(), other.results(), strict=True):
        moved = np.abs(a - start).max()
        assert moved > 0
        np.testing.assert_allclose(b, a, rtol=4 * np.finfo(np.float32).eps, atol=peer.tolerance * moved)
    for grad, expected in zip(theirs.grads, kept, strict=True):
        np.testing.assert_array_equal(grad, expected)


@pytest.mark.parametrize("name", PEERS)
def test_peers_say_what_a_step_is(name):
    peer = PEERS[name]
    assert peer.start.__doc__
    assert set(peer.rules) <= set(RULES)
    assert "pip install" in peer.install


def test_peers_are_spared_what_they_do_not_have_or_hold():
    autograd = PEERS["autograd"]
    assert autograd.does("adam", "resnet50")
    assert not autograd.does("adam", "gpt2_small")
    assert not autograd.does("adagrad", "mlp_tiny")


def test_what_was_measured_before_an_interruption_is_kept(capsys, monkeypatch):
    def interrupted(*arguments):
        yield measure.StepResult(1, "mlp_tiny", "adam", "numpy_naive", 2e-5, 1e-5, Ratio(2.0, 2.0, 2.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "steps", interrupted)
    assert __main__.main(["--peers", "numpy_naive"]) == 0
    output = capsys.readouterr()
    assert "| NumPy, naive | 2.00x (2.00 to 2.00) |" in output.out
    assert output.err.endswith("\ninterrupted\n")


def test_a_peer_that_is_missing_is_known_to_be():
    missing = Peer("nobody", PEERS["ravine"].start, distribution="ravine-no-such-package")
    assert missing.version is None
    assert not missing.installed
    assert PEERS["ravine"].installed


@pytest.mark.parametrize("form", ["together", "apart"])
@pytest.mark.parametrize("states", [0, 1, 2])
def test_the_limits_loops_write_every_array(form, states):
    pytest.importorskip("numba")
    p, g, *s = (np.full(1001, value, np.float32) for value in range(2 + states))
    _loops()[form][states](3, p, g, *s)
    np.testing.assert_array_equal(p, 3)
    np.testing.assert_array_equal(g, 1)
    for value, state in enumerate(s, 2):
        np.testing.assert_array_equal(state, value + 3)


@pytest.mark.parametrize("elements", [1, 337, 4_000_000])
def test_the_limit_measures_something(elements):
    pytest.importorskip("numba")
    config.set_num_threads(2)
    limit = StreamingLimit(elements, 2)
    assert limit.threads == (2 if elements == 4_000_000 and config.get_threading() != "off" else 1)
    assert 0 < limit.seconds(1e-4) < 1


def test_a_contender_elsewhere_has_its_own_environment_and_reports_errors():
    contender = worker.Elsewhere("ravine", worker.environment(3))
    try:
        with pytest.raises(worker.PeerError, match="ravine: PeerError: ravine: measure comes after begin"):
            contender.measure()
        contender.begin(TASK)
        assert contender.measure() > 0
        assert contender.measure() > 0
        contender.end()
        with pytest.raises(worker.PeerError, match="ravine: ValueError: no workload 'nothing'"):
            contender.begin(worker.Task("adam", "nothing", 1e-4))
        contender._process.kill()
        with pytest.raises(worker.PeerError, match="ravine: its process has ended, with status -9"):
            contender.measure()
    finally:
        contender.close()
    assert "NPROC" not in os.environ or os.environ["NPROC"] != "3", "the variables were put back"


def test_a_process_gets_its_variables(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NPROC", raising=False)
    with worker._set(worker.environment(3)):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["RAVINE_THREADS"] == os.environ["NPROC"] == "3"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NPROC" not in os.environ


def test_a_loop_does_the_products_before_each_step(monkeypatch):
    done = []

    class Products:
        def __init__(self, *sizes):
            assert sizes == (32, 128, 64)

        def __call__(self):
            done.append("products")

    monkeypatch.setattr(worker, "Products", Products)
    monkeypatch.setitem(PEERS, "ravine", Peer("", lambda _: Running.step_by_step(lambda: done.append("step"), list)))
    contender = worker.Here("ravine")
    contender.begin(worker.Task("adam", "mlp_tiny", 1e-4, measure.PRODUCTS["small"]))
    assert done[:4] == ["products", "step", "products", "step"]
    assert done.count("step") == len(done) / 2


def test_pairs_take_turns_and_go_on_when_someone_fails(monkeypatch):
    calls = []

    class Fake:
        def __init__(self, name):
            self.name = name

        def begin(self, task):
            assert task is TASK
            if self.name == "broken":
                raise worker.PeerError("broken: no")

        def measure(self):
            calls.append(self.name)
            return {"ravine": 1.0, "slow": 3.0}[self.name]

        def end(self):
            calls.append(f"{self.name} ends")

        def close(self):
            calls.append(f"{self.name} closes")

    monkeypatch.setattr(measure, "Here", Fake)
    failures = []
    with Contenders(2, one_process=True) as contenders:
        assert config.get_num_threads() == 2
        pairs = list(contenders.pairs("ravine", ["broken", "slow"], TASK, 2, failures.append))
    assert pairs == [("slow", [1.0, 1.0], [3.0, 3.0])]
    assert failures == [("broken", "broken: no")]
    assert calls == [
        "broken closes",
        *3 * ["ravine", "slow"],
        "slow ends",
        "ravine ends",
        "ravine closes",
        "slow closes",
    ]


def test_ratios_have_quartiles():
    assert Ratio.of([1.0, 4.0, 6.0, 8.0, 50.0], [1.0, 2.0, 2.0, 2.0, 10.0]) == Ratio(3.0, 2.0, 4.0)


def test_loops_are_compared_with_a_serial_step():
    failures = []
    results = list(measure.loops([1000], ["small"], ["none", "ravine"], "adam", QUICK, failures.append))
    assert not failures
    assert [(result.peer, result.parameters, result.products) for result in results] == [
        ("none", 1000, "small"),
        ("ravine", 1000, "small"),
    ]
    assert all(result.seconds > 0 and result.ratio.median > 0 for result in results)


def test_onednn_computes_batch_norm():
    pytest.importorskip("torch")
    for operation in batch_norm.PASSES:
        each = case("batch_norm", operation, make((4, 17, 9, 7), "NCHW", "float32"))
        contender = batch_norm.onednn(each)
        each.checked("onednn", contender)
        each.batch.weight[:] = 2 + np.abs(each.batch.weight)
        with pytest.raises(WrongResultError, match=r"^onednn: "):  # it reads the batch's own weight
            each.checked("onednn", contender)


def test_batch_norm_is_measured(monkeypatch):
    pytest.importorskip("torch")
    before = config.get_num_threads()
    results = list(batch_norm.passes([(2, 3, 5, 7)], 2, QUICK))
    assert config.get_num_threads() == before
    found = {(result.layout, result.operation, result.peer) for result in results}
    everyone = {"numpy", "numpy_new", "torch", "copy"}
    assert found == {
        (layout, operation, peer)
        for layout in ("NCHW", "NHWC")
        for operation in batch_norm.PASSES
        for peer in everyone | ({"onednn"} if layout == "NCHW" else set())
    }
    written = json.loads(json.dumps([vars(result) | {"ratio": vars(result.ratio)} for result in results]))
    assert tables.tables({**synthetic(), "batch-norm": written})["batch-norm"].count("\n| 2x3x5x7 ") == 6


def synthetic():
    """Results of a run, with round figures."""

    def step(peer, seconds, ratio, workload="flat:1000"):
        quartiles = {"median": ratio, "lower": ratio / 2, "upper": ratio * 2}
        return {
            "threads": 1,
            "workload": workload,
            "rule": "adam",
            "peer": peer,
            "seconds": seconds,
            "ravine_seconds": 1e-6,
            "ratio": quartiles,
        }

    def loop(peer, ratio):
        return {
            "parameters": 1_000_000,
            "products": "small",
            "rule": "adam",
            "peer": peer,
            "seconds": ratio * 1e-3,
            "ratio": {"median": ratio, "lower": ratio, "upper": ratio},
        }

    return {
        "machine": describe(),
        "steps": [
            step("limit", 5e-7, 0.5),
            step("numba", 4e-6, 4.0),
            step("limit", 5e-7, 0.25, "mnist_mlp"),
            step("numba", 2e-6, 2.0, "mnist_mlp"),
        ],
        "loops": [loop("none", 0.25), loop("ravine", 0.5)],
        "batch-norm": [],
    }


def test_tables_are_made_of_results():
    made = tables.tables(synthetic())
    assert set(made) == {"machine", "steps", "loops"}
    assert made["steps"].splitlines() == [
        "**adam, 1 thread**",
        "",
        "|  | flat:1000 | mnist_mlp, 102 k |",
        "| --- | ---: | ---: |",
        "| ravine | 1.00 µs | 1.00 µs |",
        "| numba | 4.00x (2.00 to 8.00) | 2.00x (1.00 to 4.00) |",
        "| memory limit reached | 50% | 25% |",
    ]
    assert made["loops"].splitlines()[2:] == [
        "|  | 1 M |",
        "| --- | ---: |",
        "| no step | 250 µs, 0.25x (0.25 to 0.25) |",
        "| ravine | 500 µs, 0.50x (0.50 to 0.50) |",
    ]
    assert np.__version__ in made["machine"]


def test_the_limit_is_a_part_of_each_peers_step():
    rows = synthetic()["steps"]
    assert tables.limit_part(rows, rows[1]) == 0.125
    assert tables.limit_part(rows, rows[3]) == 0.125
    assert tables.limit_part(rows[1:2], rows[1]) is None


def test_a_page_is_filled_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\n<!-- /b -->\nbelow\n", encoding="utf-8")
    for _ in range(2):
        tables.fill(page, {"a": r"new \1", "b": "other"})
        text = page.read_text(encoding="utf-8")
        assert text == (
            "above\n<!-- a -->\n\nnew \\1\n\n<!-- /a -->\nbetween\n<!-- b -->\n\nother\n\n<!-- /b -->\nbelow\n"
        )
    with pytest.raises(ValueError, match="expected the markers <!-- c --> and <!-- /c --> once, found 0"):
        tables.fill(page, {"a": "lost", "c": ""})
    assert page.read_text(encoding="utf-8") == text


def test_the_documentation_has_a_place_for_every_table(pytestconfig, tmp_path):
    page = tmp_path / "page.md"
    page.write_text((pytestconfig.rootpath / PAGE).read_text(encoding="utf-8"), encoding="utf-8")
    tables.fill(page, dict.fromkeys(("machine", "steps", "loops", "batch-norm"), "a table"))
    assert page.read_text(encoding="utf-8").count("\na table\n") == 4


def test_one_command_measures_writes_and_fills(capsys, tmp_path):
    file, page = tmp_path / "results.json", tmp_path / "page.md"
    page.write_text("<!-- machine -->\n<!-- /machine -->\n<!-- steps -->\n<!-- /steps -->\n", encoding="utf-8")
    assert __main__.main([*SHORT, "--peers", "numpy_naive", "--json", str(file), "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "| NumPy, naive | " in printed
    results = json.loads(file.read_text(encoding="utf-8"))
    assert not results["failures"]
    naive = results["steps"][-1]
    assert (naive["workload"], naive["rule"], naive["peer"], naive["threads"]) == (
        "flat:3001",
        "adam",
        "numpy_naive",
        1,
    )
    assert 0 < naive["ratio"]["lower"] <= naive["ratio"]["median"] <= naive["ratio"]["upper"]
    machine = results["machine"]
    for key in ("cpu", "cores", "caches", "instruction set", "packages", "date", "commit", "numpy"):
        assert key in machine

    filled = page.read_text(encoding="utf-8")
    assert "| NumPy, naive | " in filled
    page.write_text("<!-- machine -->\n<!-- /machine -->\n<!-- steps -->\n<!-- /steps -->\n", encoding="utf-8")
    assert __main__.main(["--from", str(file), "--page", str(page)]) == 0
    assert capsys.readouterr().out == printed
    assert page.read_text(encoding="utf-8") == filled


def test_pictures_are_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file, folder, page = tmp_path / "results.json", tmp_path / "pictures", tmp_path / "page.md"
    file.write_text(json.dumps(synthetic()), encoding="utf-8")
    page.write_text("".join(f"<!-- {part} -->\n<!-- /{part} -->\n" for part in ("machine", "steps", "loops")))
    assert __main__.main(["--from", str(file), "--pictures", str(folder), "--page", str(page)]) == 0
    assert {path.name for path in folder.iterdir()} == {"time-adam.png", "memory-limit-adam.png", "training-loop.png"}
    assert all(path.stat().st_size > 5000 for path in folder.iterdir())
    text = page.read_text(encoding="utf-8")
    for path in folder.iterdir():
        assert f"](pictures/{path.name})\n" in text


def test_peers_that_are_not_installed_are_named_with_their_install_line(capsys, monkeypatch):
    monkeypatch.setitem(PEERS, "numba", Peer("numba", PEERS["numba"].start, distribution="ravine-no-such-package"))
    assert __main__.main([*SHORT, "--peers", "numba", "numpy_naive"]) == 0
    output = capsys.readouterr()
    assert "numba: not installed; run: pip install '.[peers]'\n" in output.err
    assert "| numba |" not in output.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workloads", "resnet"], "no workload 'resnet'"),
        (["--peers", "keras"], "invalid choice: 'keras'"),
        (["--peers", "ravine"], "invalid choice: 'ravine'"),
        (["--threads", "0"], "invalid choice: 0"),
        (["--parameters", "7"], "'7' is not a whole number, 8 or more"),
        (["--json", "no/such/folder/x.json"], "'no/such/folder/x.json'"),
        (["--page", "no/such/page.md"], "'no/such/page.md' is no file"),
        (["--from", "no/such/results.json"], "'no/such/results.json' is no file"),
    ],
)
def test_bad_arguments_are_refused_before_measuring(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(arguments)
    assert stopped.value.code == 2
    output = capsys.readouterr()
    assert message in output.err
    assert not output.out


def test_a_file_of_something_else_is_refused(capsys, tmp_path):
    file = tmp_path / "results.json"
    file.write_text('{"machine": {}}', encoding="utf-8")
    assert __main__.main(["--from", str(file)]) == 1
    assert "expected results written with --json, with batch-norm, loops, machine, steps" in capsys.readouterr().err


@pytest.mark.parametrize("kind", whole.BYTES)
def test_whole_steps_are_the_same(kind):
    pytest.importorskip("torch")
    ours, theirs = (work("adam", "flat:3001") for _ in range(2))
    for name, each in (("ravine", ours), ("torch_fused", theirs)):
        step, fresh = whole.STEPS[name](kind, each), [grad.copy() for grad in each.grads]
        for _ in range(3):
            for grad, values in zip(each.grads, fresh, strict=True):
                np.copyto(grad, values)
            step()
    for a, b in zip(ours.params, theirs.params, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert all((not g.any()) == ("zero" in kind) for g in (*ours.grads, *theirs.grads))


def test_whole_steps_are_measured():
    task = worker.Task("adam", "mlp_tiny", 1e-4, whole="clip, average, zero")
    contender = worker.Here("ravine")
    contender.begin(task)
    assert contender.measure() > 0
    contender.end()
