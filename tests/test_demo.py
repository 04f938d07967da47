"""The command `ravine demo digits`."""

from __future__ import annotations

import importlib
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from ravine import _figures, cli
from ravine.demo import digits, pictures
from ravine.demo.mlp import MLP, softmax_cross_entropy
from ravine.demo.training import OPTIMIZERS, Data, Run, default_lr, train

for extra in ("sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(extra)

ACCURACY = re.compile(r"^held-out accuracy +([\d.]+)%", re.MULTILINE)


def demo(*arguments):
    return cli.main(["demo", "digits", *map(str, arguments)])


def png_size(path):
    """Return width and height of a complete PNG file."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


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


@pytest.mark.parametrize("seed", [0, 1])
def test_defaults_reach_97_percent(seed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert demo("--seed", seed) == 0
    printed = capsys.readouterr().out
    assert float(ACCURACY.search(printed)[1]) >= 97
    assert re.search(r"training time +[\d.]+ s, \d+% of it in step\(\)", printed)
    assert "ravine-digits.png" in printed
    width, height = png_size(tmp_path / "ravine-digits.png")
    assert width >= 1000
    assert height >= 500


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


@pytest.mark.parametrize("suffix", _figures.SUFFIXES)
def test_formats(suffix, tmp_path):
    output = tmp_path / f"digits{suffix}"
    assert demo("--epochs", 1, "--output", output) == 0
    assert output.stat().st_size > 10_000


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns(name, no_picture, capsys):
    assert demo("--optimizer", name, "--epochs", 3) == 0
    printed = capsys.readouterr().out
    assert f"{name}, lr {OPTIMIZERS[name].lr:g}, batches of 32, 3 epochs, seed 0" in printed
    assert float(ACCURACY.search(printed)[1]) > 90


@pytest.mark.parametrize(
    ("size", "words"),
    [("all", "whole set at once"), ("5000", "whole set at once"), ("100", "batches of 100"), ("1", "single images")],
)
def test_batch_sizes(size, words, no_picture, capsys):
    assert demo("--batch-size", size, "--epochs", 1) == 0
    assert f", {words}, 1 epoch, seed 0" in capsys.readouterr().out


def test_compare(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert demo("--compare", "--epochs", 1) == 0
    printed = capsys.readouterr().out
    for name in (*OPTIMIZERS, "batch", "mini-batch", "stochastic"):
        assert re.search(rf"^{name} +[\d.]+ +[\d.]+% +[\d.]+ ms +\d+%$", printed, re.MULTILINE), name
    width, height = png_size(tmp_path / "ravine-digits-compare.png")
    assert width >= 1000
    assert height >= 700


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
        result = Run("adam", 0.004, 32)
        data = digits.load(seed)
        rng = np.random.default_rng(seed)
        network = MLP((64, 16, 10), rng)
        train(network, data, result, epochs=2, rng=rng, on_epoch=lambda run: None)
        return result, network

    (first, network), (again, same), (other, _) = run(3), run(3), run(4)
    assert first.train_loss == again.train_loss
    assert first.held_out_accuracy == again.held_out_accuracy
    for a, b in zip(network.parameters(), same.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert first.train_loss != other.train_loss


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
    data = Data(*(rng.random((8, 4), np.float32), rng.integers(0, 2, 8)) * 2)
    run = Run("sgd", 0.1, 3)
    seen = []
    train(MLP((4, 2), rng), data, run, epochs=4, rng=rng, on_epoch=lambda run: seen.append(run.epochs))
    assert seen == [1, 2, 3, 4]
    np.testing.assert_allclose(run.lrs, 0.1 * 0.9 ** np.arange(4))
    assert len(run.train_loss) == len(run.train_accuracy) == len(run.held_out_loss) == len(run.held_out_accuracy) == 5
    assert 0 < run.step_share < 1


def test_default_lr_grows_with_the_batch():
    assert default_lr("adam", 32, 1437) == 0.004
    assert default_lr("adam", 1, 1437) < 0.004 < default_lr("adam", None, 1437)
    assert default_lr("adam", None, 10) == default_lr("adam", 10, 1437)


def test_network_is_float32_with_he_initialisation():
    network = MLP((400, 300, 10), np.random.default_rng(0))
    weight, bias, *_ = network.parameters()
    assert [p.shape for p in network.parameters()] == [(400, 300), (300,), (300, 10), (10,)]
    assert all(p.dtype == np.float32 for p in network.parameters())
    assert np.std(weight.data) == pytest.approx(np.sqrt(2 / 400), rel=0.02)
    assert not bias.data.any()
    _, gradient = softmax_cross_entropy(network.forward(np.ones((2, 400), np.float32)), np.array([1, 2]))
    network.backward(gradient)
    assert all(p.grad.dtype == np.float32 for p in network.parameters())


def test_gradients_equal_finite_differences():
    rng = np.random.default_rng(0)
    network = MLP((5, 7, 6, 4), rng, np.float64)
    x, labels = rng.normal(size=(9, 5)), rng.integers(0, 4, 9)

    def loss():
        return softmax_cross_entropy(network.forward(x), labels)[0]

    _, gradient = softmax_cross_entropy(network.forward(x), labels)
    network.backward(gradient)
    h = 1e-6
    for parameter in network.parameters():
        values, gradient = parameter.data, parameter.grad
        for i in np.ndindex(values.shape):
            value = values[i]
            values[i] = value + h
            above = loss()
            values[i] = value - h
            below = loss()
            values[i] = value
            assert gradient[i] == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-9)


def test_softmax_cross_entropy_of_huge_logits():
    loss, gradient = softmax_cross_entropy(np.array([[1000.0, 0.0], [0.0, 1000.0]]), np.array([0, 0]))
    assert loss == 500
    np.testing.assert_array_equal(gradient, [[0, 0], [-0.5, 0.5]])
