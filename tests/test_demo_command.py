"""The command `ravine demo digits`: what it trains, prints and draws."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from demo_helpers import demo, png_size
from ravine import _figures
from ravine.demo import pictures, training
from ravine.demo.networks import Design
from ravine.demo.training import OPTIMIZERS

ACCURACY = re.compile(r"^held-out accuracy +([\d.]+)%", re.MULTILINE)


@pytest.fixture
def no_picture(monkeypatch):
    """Save the time of drawing where the picture does not matter."""
    monkeypatch.setattr(pictures, "draw_run", lambda *args: None)
    monkeypatch.setattr(_figures, "save", lambda figure, path: None)


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


def test_clipping_and_averaging_are_reported(tmp_path, capsys):
    output = tmp_path / "digits.png"
    assert demo("--clip-norm", 1, "--ema", 0.99, "--epochs", 4, "--output", output) == 0
    printed = capsys.readouterr().out
    assert float(ACCURACY.search(printed)[1]) > 96
    right, held_out = re.search(r"^averaged weights +[\d.]+% \((\d+) of (\d+)\)$", printed, re.MULTILINE).groups()
    assert int(right) > 0.96 * int(held_out) == 0.96 * 360
    clipped = re.search(r"^gradients clipped  in (\d+) of (\d+) steps, to a norm of 1$", printed, re.MULTILINE)
    assert 0 < int(clipped[1]) < int(clipped[2]) == 4 * (1437 // 32)
    plain = tmp_path / "plain.png"
    assert demo("--epochs", 1, "--output", plain) == 0
    printed = capsys.readouterr().out
    assert "averaged" not in printed
    assert "clipped" not in printed
    assert all(large > small for large, small in zip(png_size(output), png_size(plain), strict=True))


@pytest.mark.parametrize("norms", [[3.0, 0.5, 1.5, 0.7], [1e-6, 20.0, 0.0, 2.0], [0.5, 0.5, 0.5, 0.5]])
def test_norms_and_clipped_steps_are_drawn(norms):
    coefficients = [min(1, 1 / (norm + 1e-6)) for norm in norms]
    run = training.Run("adam", 0.004, 32, Design("mlp", True, 0), clip_norm=1.0, ema=0.9)
    run.train_loss, run.held_out_loss, run.ema_loss = [2.0, 1.0, 0.5], [2.0, 1.0, 0.7], [2.0, 1.5, 0.6]
    run.train_accuracy, run.held_out_accuracy, run.ema_accuracy = [0.1, 0.8, 1.0], [0.1, 0.7, 0.9], [0.1, 0.6, 0.95]
    run.norms, run.clip_coefficients, run.steps, run.lrs, run.seconds = norms, coefficients, 2, [1.0, 0.9], [1.0, 1.0]
    figure = pictures.draw_run(run, np.zeros((3, 8, 8)), np.zeros(3), np.zeros(3))
    figure.draw_without_rendering()
    panels = {axes.get_title(loc="left"): axes for axes in figure.subfigs[0].axes}
    assert list(panels) == ["Loss", "Accuracy", "Learning rate", "Gradient norm"]
    limit, kept, clipped = panels["Gradient norm"].get_lines()
    assert set(limit.get_ydata()) == {1.0}
    steps = list(zip([0.5, 1.0, 1.5, 2.0], norms, strict=True))
    assert list(zip(*clipped.get_data(), strict=True)) == [step for step in steps if step[1] > 1]
    assert list(zip(*kept.get_data(), strict=True)) == [step for step in steps if step[1] < 1]
    assert panels["Gradient norm"].get_xlim() == panels["Loss"].get_xlim()
    heading = "90.0% of the held-out digits read correctly, 95.0% with averaged weights"
    assert figure.subfigs[0].get_suptitle() == heading
    for name, averaged in (("Loss", run.ema_loss), ("Accuracy", run.ema_accuracy)):
        assert list(panels[name].get_lines()[2].get_ydata()) == averaged
        assert panels[name].get_legend_handles_labels()[1] == ["train", "held out", "ema 0.9"]


def test_importing_the_demo_is_cheap():
    code = """
import sys
from ravine.demo import digits
assert not {"matplotlib", "sklearn", "tqdm"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
