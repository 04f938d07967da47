"""The command `ravine demo digits`."""

from __future__ import annotations

import importlib
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from ravine import _figures, cli, nn, optim
from ravine.demo import digits, networks, pictures, training
from ravine.demo.layers import Conv2d, MaxPool2d, softmax_cross_entropy
from ravine.demo.networks import Design, cnn, mlp
from ravine.demo.training import OPTIMIZERS, Data, Run, default_lr, train
from ravine.optim.schedule_free import ScheduleFree

for extra in ("sklearn", "matplotlib", "tqdm", "threadpoolctl"):
    pytest.importorskip(extra)

PLAIN = Design("mlp", batch_norm=False, dropout=0)
FULL = Design("mlp", batch_norm=True, dropout=0.2)

ACCURACY = re.compile(r"^held-out accuracy +([\d.]+)%", re.MULTILINE)


def demo(*arguments):
    return cli.main(["demo", "digits", *map(str, arguments)])


def png_size(path):
    """Return width and height of a complete PNG file."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


@pytest.fixture(autouse=True)
def one_blas_thread():
    """Train as fast as the command does where a test does without it."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def no_training(monkeypatch):
    """Make sure that what is wrong is found before the training."""
    monkeypatch.setattr(digits, "train", lambda *args, **kwargs: pytest.fail("the training has begun"))


@pytest.fixture
def no_picture(monkeypatch):
    """Save the time of drawing where the picture does not matter."""
    monkeypatch.setattr(pictures, "draw_run", lambda *args: None)
    monkeypatch.setattr(_figures, "save", lambda figure, path: None)


# --- the command


def test_defaults_reach_96_percent(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert demo() == 0
    printed = capsys.readouterr().out
    assert float(ACCURACY.search(printed)[1]) > 96
    assert "mlp with batch norm and dropout 0.2, adam, lr 0.004, batches of 32, 20 epochs, seed 0" in printed
    assert re.search(
        r"training time +[\d.]+ s, \d+% of it in step\(\), \d+% in batch norm \(with its ReLU\) and dropout$",
        printed,
        re.MULTILINE,
    )
    assert "ravine-digits.png" in printed
    width, height = png_size(tmp_path / "ravine-digits.png")
    assert width >= 1000
    assert height >= 500


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_other_seeds_reach_96_percent(seed, no_picture, capsys):
    assert demo("--seed", seed) == 0
    assert float(ACCURACY.search(capsys.readouterr().out)[1]) > 96


def test_the_picture_shows_something(tmp_path):
    from matplotlib.image import imread

    output = tmp_path / "digits.png"
    assert demo("--epochs", 1, "--output", output) == 0
    pixels = imread(output)[..., :3]
    for colour in (_figures.BLUE, _figures.ORANGE, _figures.GREEN):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        assert (np.abs(pixels - rgb).max(axis=2) < 0.02).sum() > 100, colour


def test_pictures_leave_the_users_matplotlib_alone(tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    pyplot = "matplotlib.pyplot" in sys.modules
    assert demo("--epochs", 1, "--output", tmp_path / "digits.png") == 0
    assert dict(mpl.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == pyplot


@pytest.mark.parametrize("suffix", sorted(set(_figures.SUFFIXES) - {".png"}))
def test_formats(suffix, tmp_path):
    output = tmp_path / f"digits{suffix}"
    assert demo("--epochs", 1, "--output", output) == 0
    assert output.stat().st_size > 10_000


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns(name, no_picture, capsys):
    assert demo("--optimizer", name, "--epochs", 3) == 0
    printed = capsys.readouterr().out
    batches = "whole set at once" if OPTIMIZERS[name].batch_size is None else "batches of 32"
    assert f"{name}, lr {OPTIMIZERS[name].lr:g}, {batches}, 3 epochs, seed 0" in printed
    tuned = any(name in family for family in training.TUNED.values())
    assert float(ACCURACY.search(printed)[1]) > (90 if tuned else 20)  # a guess reads 10 % correctly


@pytest.mark.parametrize(
    ("size", "words"),
    [("all", "whole set at once"), ("5000", "whole set at once"), ("100", "batches of 100"), ("1", "single images")],
)
def test_batch_sizes(size, words, no_picture, capsys):
    assert demo("--batch-size", size, "--epochs", 1) == 0
    assert f", {words}, 1 epoch, seed 0" in capsys.readouterr().out


def test_the_cnn_learns(no_picture, capsys):
    assert demo("--model", "cnn", "--epochs", 3) == 0
    printed = capsys.readouterr().out
    assert "cnn with batch norm and dropout 0.2, adam" in printed
    assert float(ACCURACY.search(printed)[1]) > 96


@pytest.mark.parametrize(
    ("arguments", "network", "time"),
    [
        (["--no-batch-norm"], "mlp with dropout 0.2", r"\d+% in dropout"),
        (["--dropout", "0"], "mlp with batch norm", r"\d+% in batch norm \(with its ReLU\)"),
        (["--dropout", "0.5", "--batch-norm"], "mlp with batch norm and dropout 0.5", r"\d+% in .* and dropout"),
        (["--no-batch-norm", "--dropout", "0"], "plain mlp", None),
        (["--batch-size", "1", "--dropout", "0.1"], "mlp with dropout 0.1", r"\d+% in dropout"),
        (["--batch-size", "2"], "mlp with batch norm and dropout 0.2", r"\d+% in .* and dropout"),  # 1437 is odd
    ],
)
def test_batch_norm_and_dropout_are_chosen(arguments, network, time, no_picture, capsys):
    assert demo(*arguments, "--epochs", 1) == 0
    printed = capsys.readouterr().out
    assert f"{network}, adam, lr" in printed
    assert re.search(r"of it in step\(\)" + (f", {time}$" if time else "$"), printed, re.MULTILINE)


def test_compare(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert demo("--compare", "--epochs", 1) == 0
    printed = capsys.readouterr().out
    assert "plain mlp, 1 epoch each, seed 0" in printed
    for name in (*OPTIMIZERS, "batch", "mini-batch", "stochastic"):
        assert re.search(rf"^{name} +[\d.]+ +\d+ +[\d.]+% +[\d.]+ ms +\d+%$", printed, re.MULTILINE), name
    for name, steps in (("batch", 1), ("mini-batch", 1437 // 32), ("stochastic", 1437)):
        assert re.search(rf"^{name} +[\d.]+ +{steps} ", printed, re.MULTILINE)
    width, height = png_size(tmp_path / "ravine-digits-compare.png")
    assert width >= 1000
    assert height >= 700


def norm_table(printed, lr):
    """Return the rows of one of the tables by name: loss, accuracy, shares of step() and layers, in percent."""
    table = printed.split(f"sgd, lr {lr}\n")[1]
    row = re.compile(r"^(\w.*?)  +([\d.]+|diverged) +([\d.]+)% +[\d.]+ ms +(\d+)% +(\d+)%$", re.MULTILINE)
    return {name: cells for name, *cells in row.findall(table)[:4]}


def test_compare_norm(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert demo("--compare-norm", "--epochs", 3) == 0
    printed = capsys.readouterr().out
    suits, larger = norm_table(printed, "0.2"), norm_table(printed, "2")
    assert list(suits) == list(larger) == ["plain", "dropout", "batch norm", "batch norm, dropout"]
    for table in (suits, larger):
        assert float(table["batch norm"][0]) < float(table["plain"][0])
        assert [int(layers) > 0 for *_, layers in table.values()] == [False, True, True, True]
    assert float(suits["plain"][1]) > 80
    assert float(larger["plain"][1]) < 50
    assert float(larger["batch norm"][1]) > 90
    width, height = png_size(tmp_path / "ravine-digits-compare-norm.png")
    assert width >= 1000
    assert height >= 700


def test_compare_norm_goes_on_where_trainings_diverge(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(digits, "LARGER_LR", 1e300)  # infinite in float32
    monkeypatch.setattr(_figures, "save", lambda figure, path: figure.draw_without_rendering())
    assert demo("--compare-norm", "--epochs", 2, "--output", tmp_path / "norm.png") == 0
    printed = capsys.readouterr().out
    assert "diverged" not in [loss for loss, *_ in norm_table(printed, "0.2").values()]
    assert [loss for loss, *_ in norm_table(printed, "2e+299").values()] == ["diverged"] * 4


def test_a_learning_rate_too_large_is_said_so(tmp_path, capsys):
    output = tmp_path / "digits.png"
    assert demo("--optimizer", "sgd", "--lr", "1e6", "--epochs", 2, "--output", output) == 1
    assert "lr=1e+06 is too large for sgd here; 0.2 suits it" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizer", "adm"], "argument --optimizer: invalid choice: 'adm'"),
        (["--lr", "0"], "argument --lr: '0'; expected a number above 0"),
        (["--lr", "nan"], "argument --lr: 'nan'; expected a number above 0"),
        (["--lr", "inf"], "argument --lr: 'inf'; expected a number above 0"),
        (["--lr", "fast"], "argument --lr: 'fast'; expected a number above 0"),
        (["--model", "rnn"], "argument --model: invalid choice: 'rnn'"),
        (["--dropout", "1"], "argument --dropout: '1'; expected a number from 0 to below 1"),
        (["--dropout", "-0.1"], "argument --dropout: '-0.1'; expected a number from 0 to below 1"),
        (["--dropout", "nan"], "argument --dropout: 'nan'; expected a number from 0 to below 1"),
        (["--dropout", "half"], "argument --dropout: 'half'; expected a number from 0 to below 1"),
        (["--batch-norm", "--batch-size", "1"], "argument --batch-norm: not allowed with --batch-size 1"),
        (["--batch-size", "0"], "argument --batch-size: '0'; expected a whole number, 1 or more, or 'all'"),
        (["--batch-size", "some"], "argument --batch-size: 'some'; expected a whole number, 1 or more, or 'all'"),
        (["--epochs", "0"], "argument --epochs: '0'; expected a whole number, 1 or more"),
        (["--epochs", "1.5"], "argument --epochs: '1.5'; expected a whole number, 1 or more"),
        (["--seed", "-1"], "argument --seed: '-1'; expected a whole number from 0 to 4294967295"),
        (["--seed", "4294967296"], "argument --seed: '4294967296'; expected a whole number from 0 to 4294967295"),
        (["--output", "a.bmp"], "argument --output: 'a.bmp'; expected a name that ends in .png, .pdf, .svg"),
        (["--compare", "--lr", "0.1"], "argument --lr: not allowed with --compare"),
        (["--compare", "--batch-size", "all"], "argument --batch-size: not allowed with --compare"),
        (["--compare", "--optimizer", "sgd"], "argument --optimizer: not allowed with --compare"),
        (["--compare", "--no-batch-norm"], "argument --batch-norm: not allowed with --compare"),
        (["--compare-norm", "--dropout", "0"], "argument --dropout: not allowed with --compare-norm, which chooses"),
        (["--compare-norm", "--lr", "1"], "argument --lr: not allowed with --compare-norm, which chooses"),
        (["--compare-norm", "--compare"], "argument --compare: not allowed with argument --compare-norm"),
    ],
)
def test_bad_arguments(arguments, message, no_training, capsys):
    with pytest.raises(SystemExit, match="2"):
        demo(*arguments)
    assert message in capsys.readouterr().err


def test_bad_outputs(tmp_path, no_training, monkeypatch, capsys):
    folder = tmp_path / "folder.png"
    folder.mkdir()
    for output, message in (
        (tmp_path / "missing" / "a.png", "there is no folder"),
        (folder, "expected a file; this is a folder"),
    ):
        with pytest.raises(SystemExit, match="2"):
            demo("--output", output)
        printed = capsys.readouterr().err
        assert f"argument --output: {str(output)!r}" in printed
        assert message in printed
    monkeypatch.setattr(_figures.os, "access", lambda path, mode: False)  # a superuser may write anywhere
    with pytest.raises(SystemExit, match="2"):
        demo("--output", tmp_path / "a.png")
    assert "there is no permission to write there" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["sklearn", "matplotlib", "tqdm"])
def test_a_missing_extra_names_its_install_line(missing, tmp_path, no_training, monkeypatch, capsys):
    def import_module(name, package=None):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(name, package)

    found = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", import_module)
    assert demo("--output", tmp_path / "a.png") == 1
    assert f"this needs {missing}, which is not installed; run: pip install 'ravine[demo]'" in capsys.readouterr().err


def test_importing_the_demo_is_cheap():
    code = """
import sys
from ravine.demo import digits
assert not {"matplotlib", "sklearn", "tqdm"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- network and training


def test_same_seed_same_result():
    def run(seed):
        result = Run("adam", 0.004, 32, FULL)
        network = train(digits.load(seed), result, epochs=1, seed=seed, on_epoch=lambda run: None)
        return result, network

    (first, network), (again, same), (other, _) = run(3), run(3), run(4)
    assert first.train_loss == again.train_loss
    assert first.held_out_accuracy == again.held_out_accuracy
    for a, b in zip(network.parameters(), same.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert first.train_loss != other.train_loss


def test_batch_norm_and_dropout_learn_in_training_and_rest_in_evaluation(monkeypatch):
    data = digits.load(0)
    seen = []
    monkeypatch.setattr(training, "accuracy", lambda logits, labels: seen.append(network.training) or 0.0)

    def build(self, rng):
        nonlocal network
        network = original(self, rng)
        return network

    network, original = None, Design.build
    monkeypatch.setattr(Design, "build", build)
    trained = train(data, Run("adam", 0.004, 100, FULL), epochs=2, seed=0, on_epoch=lambda run: None)
    assert trained is network
    assert seen == [False] * 6
    assert not any(layer.training for layer in trained.layers)
    steps = 2 * (len(data.X) // 100)
    norms = [layer for layer in trained.layers if isinstance(layer, nn.BatchNorm1d)]
    assert [norm.num_batches_tracked for norm in norms] == [steps, steps]
    np.testing.assert_array_equal(trained(data.X[:5]), trained(data.X[:5]))
    np.testing.assert_allclose(trained(data.X[:5]), trained(data.X)[:5], rtol=1e-4, atol=1e-5)
    assert not np.array_equal(trained.train()(data.X[:5]), trained(data.X[:5]))


def test_the_share_of_the_layers_is_theirs_alone(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(networks.time, "perf_counter", lambda: next(clock))  # each look takes a second
    data = Data(*[array[:64] for array in digits.load(0)])
    for design, layers in ((PLAIN, 0), (FULL, 4), (Design("cnn", batch_norm=True, dropout=0.2), 4)):
        run = Run("sgd", 0.1, 16, design)
        train(data, run, epochs=2, seed=0, on_epoch=lambda run: None)
        assert run.steps == 4
        assert run.layer_seconds == [4 * 2 * layers] * 2  # forward and backward
        assert run.step_seconds == [4 * 2] * 2  # before and after the closure
        assert 0 < run.step_share + run.layer_share < 1


def test_data():
    data = digits.load(0)
    assert data.X.dtype == data.X_held_out.dtype == np.float32
    assert len(data.X) + len(data.X_held_out) == 1797
    assert len(data.X_held_out) == 360
    assert data.X.min() == 0
    assert data.X.max() == 1
    assert np.bincount(data.y_held_out).min() >= 35


def test_the_schedule_is_stepped_once_an_epoch():
    rng = np.random.default_rng(0)
    data = Data(*(rng.random((8, 64), np.float32), rng.integers(0, 10, 8)) * 2)
    run = Run("sgd", 0.1, 3, PLAIN)
    seen = []
    train(data, run, epochs=4, seed=0, on_epoch=lambda run: seen.append(run.epochs))
    assert seen == [1, 2, 3, 4]
    np.testing.assert_allclose(run.lrs, 0.1 * 0.9 ** np.arange(4))
    assert len(run.train_loss) == len(run.train_accuracy) == len(run.held_out_loss) == len(run.held_out_accuracy) == 5
    assert run.steps == 2
    assert 0 < run.step_share < 1


def test_every_public_optimizer_is_compared():
    classes = {name: value for name, value in vars(optim).items() if isinstance(value, type)}
    public = {name for name, value in classes.items() if issubclass(value, optim.Optimizer)} - {"Optimizer"}
    params = [("w", nn.Parameter(np.zeros((1, 1)))), ("b", nn.Parameter(np.zeros(1)))]
    made = [choice.make(params, choice.lr)[0] for choice in OPTIMIZERS.values()]
    assert {type(optimizer).__name__ for optimizer in made} == public


def test_an_optimizer_that_nobody_tuned_has_its_own_learning_rate():
    families = {title: dict(family) for title, family in training.TUNED.items()}
    del families["After Adam"]["adabelief"], families["Gradients and their signs"]["muon"]
    ((title, found),) = training.others(families).items()
    assert title == "Others, not tuned"
    assert found["adabelief"] == training.Choice(optim.AdaBelief, 0.001, {})
    assert found["muon"] == training.Choice(optim.Muon, 0.001, {}, others="adamw")
    assert not {"sgd", "lbfgs", "sparseadam"} & found.keys()


def test_adam_hands_over_to_sgd():
    handoff = OPTIMIZERS["adam-then-sgd"].optimizer([np.zeros(1)], lr=0.004, **OPTIMIZERS["adam-then-sgd"].options)
    assert [type(optimizer) for optimizer in handoff.optimizers] == [optim.Adam, optim.SGD]
    assert [optimizer.defaults["lr"] for optimizer in handoff.optimizers] == [0.004, 0.05]
    assert handoff.at == [2 * (1437 // 32)]


def test_schedule_free_optimizers_are_evaluated_at_the_average(monkeypatch):
    calls = []
    for name in ("train", "eval"):
        turn = getattr(ScheduleFree, name)
        monkeypatch.setattr(ScheduleFree, name, lambda self, name=name, turn=turn: (calls.append(name), turn(self)))
    monkeypatch.setattr(
        training, "_evaluate", lambda network, data, run: (calls.append("?"), run.train_loss.append(0.0))
    )
    rng = np.random.default_rng(0)
    data = Data(*(rng.random((8, 64), np.float32), rng.integers(0, 2, 8)) * 2)
    design = Design("mlp", batch_norm=False, dropout=0)
    train(data, Run("sgd-schedule-free", 0.1, 3, design), epochs=2, seed=0, on_epoch=lambda run: None)
    assert calls == ["?", "train", "eval", "?", "train", "eval", "?"]


def test_default_lr_grows_with_the_batch():
    assert default_lr("adam", 32, 1437) == 0.004
    assert default_lr("adam", 1, 1437) < 0.004 < default_lr("adam", None, 1437)
    assert default_lr("adam", None, 10) == default_lr("adam", 10, 1437)
    assert default_lr("lbfgs", 32, 1437) < default_lr("lbfgs", None, 1437) == 1


@pytest.mark.parametrize("seed", range(5))
def test_lbfgs_reaches_90_percent_in_few_epochs(seed):
    run = Run("lbfgs", 1.0, None, PLAIN)
    train(digits.load(seed), run, epochs=5, seed=seed, on_epoch=lambda run: None)
    assert run.steps == 1
    assert run.held_out_accuracy[-1] > 0.9


def test_all_evaluations_of_a_step_drop_the_same():
    network = FULL.build(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    optimizer = optim.SGD(network.named_parameters())
    X, y = rng.random((32, 64), np.float32), rng.integers(0, 10, 32)
    first, second = training.Evaluation(network, [optimizer], X, y), training.Evaluation(network, [optimizer], X, y)
    loss = first()
    assert first() == loss
    assert training.Evaluation(network, [optimizer], X, y)() != loss
    assert second() == loss
    assert first.seconds > 0


def test_networks_are_float32_with_he_initialisation():
    network = mlp(np.random.default_rng(0), (400, 300, 10), batch_norm=False, dropout=0)
    weight, bias, *_ = network.parameters()
    assert [p.shape for p in network.parameters()] == [(400, 300), (300,), (300, 10), (10,)]
    assert np.std(weight.data) == pytest.approx(np.sqrt(2 / 400), rel=0.02)
    assert not bias.data.any()
    kernel = Conv2d(20, 60, bias=False, rng=np.random.default_rng(0), dtype=np.float32).weight
    assert kernel.shape == (3, 3, 20, 60)
    assert np.std(kernel.data) == pytest.approx(np.sqrt(2 / 180), rel=0.02)


@pytest.mark.parametrize("model", networks.MODELS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_networks_stay_float32(model, batch_norm):
    network = Design(model, batch_norm, 0.2).build(np.random.default_rng(0))
    x = np.random.default_rng(1).random((4, 64), np.float32)
    logits = network(x)
    _, gradient = softmax_cross_entropy(logits, np.arange(4))
    assert logits.shape == (4, 10)
    assert network.backward(gradient).shape == x.shape
    assert logits.dtype == gradient.dtype == np.float32
    assert all(p.dtype == p.grad.dtype == np.float32 for p in network.parameters())
    biases = [name for name, _ in network.named_parameters() if name.endswith(".bias")]
    assert len(biases) == {"mlp": 3, "cnn": 4}[model]  # a batch norm's takes the place of that before it


def test_convolution_equals_its_formula():
    rng = np.random.default_rng(0)
    layer = Conv2d(2, 3, bias=True, rng=rng, dtype=np.float64)
    layer.bias.data[:] = rng.normal(size=3)
    x = rng.normal(size=(2, 4, 5, 2))
    expected = np.empty((2, 4, 5, 3))
    for n, i, j in np.ndindex(2, 4, 5):
        expected[n, i, j] = layer.bias.data
        for di, dj in np.ndindex(3, 3):
            h, w = i + di - 1, j + dj - 1
            if 0 <= h < 4 and 0 <= w < 5:
                expected[n, i, j] += x[n, h, w] @ layer.weight.data[di, dj]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_pooling_shares_the_gradient_among_equals():
    pool = MaxPool2d()
    x = np.array([[1.0, 2, 5, 5], [4, 3, 5, 0]])[None, :, :, None]
    np.testing.assert_array_equal(pool(x)[0, :, :, 0], [[4, 5]])
    dx = pool.backward(np.array([6.0, 3.0]).reshape(1, 1, 2, 1))
    np.testing.assert_allclose(dx[0, :, :, 0], [[0, 0, 1, 1], [6, 0, 1, 0]])


def small_mlp(rng, **additions):
    return mlp(rng, (5, 7, 6, 4), dtype=np.float64, **additions), rng.normal(size=(9, 5)), rng.integers(0, 4, 9)


def small_cnn(rng, **additions):
    network = cnn(rng, channels=(2, 3), features=4, dtype=np.float64, **additions)
    return network, rng.normal(size=(5, 64)), rng.integers(0, 10, 5)


@pytest.mark.parametrize("make", [small_mlp, small_cnn])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("dropout", [0, 0.3])
def test_gradients_equal_finite_differences(make, batch_norm, dropout):
    network, x, labels = make(np.random.default_rng(0), batch_norm=batch_norm, dropout=dropout)

    for parameter in network.parameters():
        parameter.data[...] += np.random.default_rng(1).normal(0, 0.1, parameter.shape)  # away from the kinks of ReLU

    def loss_and_gradient():
        for layer in network.layers:
            if isinstance(layer, nn.Dropout):
                layer.offset = 0  # the same features each time
        return softmax_cross_entropy(network(x), labels)

    def check(values, gradient):
        for i in np.ndindex(values.shape):
            value = values[i]
            values[i] = value + h
            above, _ = loss_and_gradient()
            values[i] = value - h
            below, _ = loss_and_gradient()
            values[i] = value
            assert gradient[i] == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-8)

    h = 1e-6
    check(x, network.backward(loss_and_gradient()[1]))
    for parameter in network.parameters():
        check(parameter.data, parameter.grad)


def test_softmax_cross_entropy_of_huge_logits():
    loss, gradient = softmax_cross_entropy(np.array([[1000.0, 0.0], [0.0, 1000.0]]), np.array([0, 0]))
    assert loss == 500
    np.testing.assert_array_equal(gradient, [[0, 0], [-0.5, 0.5]])
