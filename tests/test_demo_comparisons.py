"""The comparisons of `ravine demo digits`: `--compare` and `--compare-norm`."""

from __future__ import annotations

import re

from demo_helpers import demo, png_size
from ravine import _figures
from ravine.demo import digits
from ravine.demo.training import OPTIMIZERS


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
