"""What `ravine demo digits` refuses, and what it says of it."""

from __future__ import annotations

import importlib

import pytest
from demo_helpers import demo
from ravine import _figures
from ravine.demo import digits


@pytest.fixture
def no_training(monkeypatch):
    """Make sure that what is wrong is found before the training."""
    monkeypatch.setattr(digits, "train", lambda *args, **kwargs: pytest.fail("the training has begun"))


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
        (["--clip-norm", "0"], "argument --clip-norm: '0'; expected a number above 0"),
        (["--clip-norm", "nan"], "argument --clip-norm: 'nan'; expected a number above 0"),
        (["--clip-norm", "inf"], "argument --clip-norm: 'inf'; expected a number above 0"),
        (["--ema", "1"], "argument --ema: '1'; expected a number from 0 to below 1"),
        (["--ema", "nan"], "argument --ema: 'nan'; expected a number from 0 to below 1"),
        (
            ["--clip-norm", "1", "--optimizer", "lbfgs"],
            "argument --clip-norm: not allowed with --optimizer lbfgs. LBFGS.step: it compares gradients",
        ),
        (["--ema", "0.9", "--optimizer", "lbfgs"], "argument --ema: not allowed with --optimizer lbfgs. LBFGS: its"),
        (
            ["--ema", "0.9", "--optimizer", "sgd-schedule-free"],
            "argument --ema: not allowed with --optimizer sgd-schedule-free. SGDScheduleFree: it keeps an average of",
        ),
        (["--epochs", "0"], "argument --epochs: '0'; expected a whole number, 1 or more"),
        (["--epochs", "1.5"], "argument --epochs: '1.5'; expected a whole number, 1 or more"),
        (["--seed", "-1"], "argument --seed: '-1'; expected a whole number from 0 to 4294967295"),
        (["--seed", "4294967296"], "argument --seed: '4294967296'; expected a whole number from 0 to 4294967295"),
        (["--output", "a.bmp"], "argument --output: 'a.bmp'; expected a name that ends in .png, .pdf, .svg"),
        (["--compare", "--lr", "0.1"], "argument --lr: not allowed with --compare"),
        (["--compare", "--batch-size", "all"], "argument --batch-size: not allowed with --compare"),
        (["--compare", "--optimizer", "sgd"], "argument --optimizer: not allowed with --compare"),
        (["--compare", "--no-batch-norm"], "argument --batch-norm: not allowed with --compare"),
        (["--compare", "--clip-norm", "1"], "argument --clip-norm: not allowed with --compare"),
        (["--compare-norm", "--ema", "0.9"], "argument --ema: not allowed with --compare-norm"),
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
